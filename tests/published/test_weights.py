"""Every model whose published weights are on this machine, on labelled photographs.

  python -m pytest tests/published --weights

The photographs are scikit-learn's: a flower before leaves, and a temple under the sky.
Where the project is built there are weights of `imagenet` alone; somebody who has
others should run this first.
"""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the 2-D models need [teachers]")

from sas_jax.capability.registry import load_prompter, load_synthesizer
from sas_jax.teachers import registry
from sas_jax.text.prompts import prompts
from sas_jax.text.registry import load as load_tower
from sas_jax.weights.cards import cards
from sas_jax.weights.find import found_files

# It knows things, and no sky: see its card.
ONLY_THINGS = {"imagenet"}
CLASSES = ["flower", "building", "sky", "car", "sofa", "dog", "book"]
# Photograph -> (row, column) as shares of its size, and what stands there.
PLACES = {
    "flower.jpg": [((0.45, 0.5), "flower")],
    "china.jpg": [((0.5, 0.5), "building"), ((0.06, 0.3), "sky")],
}


def of_kind(*kinds):
    """Parametrize by the models of a kind that have weights of their own."""
    names = [c.name for c in cards().values() if c.kind in kinds and c.files]
    return pytest.mark.parametrize("name", names)


@pytest.fixture
def here(request, name):
    """Skip where the published weights are not wanted, or not here."""
    if not request.config.getoption("--weights"):
        pytest.skip("published weights are tried with --weights")
    if found_files(name) is None:
        pytest.skip(f"the published weights of {name} are not on this machine")
    return name


def photograph(name):
    datasets = pytest.importorskip("sklearn.datasets")
    return np.ascontiguousarray(datasets.load_sample_image(name))


def pixel(shape, share):
    return tuple(int(a * n) for a, n in zip(share, shape[:2], strict=True))


def class_at(teacher, image, share):
    """Return the class that a teacher sees at a place."""
    text = teacher.encode_text(prompts(CLASSES))
    if teacher.spec.contract == "dense":
        (grid,) = teacher.features([image])
        feature = grid[pixel(grid.shape, share)].astype(np.float32)
    elif teacher.spec.contract == "heat":
        (heat,) = teacher.heat([image], CLASSES)
        return CLASSES[heat[:, *pixel(heat.shape[1:], share)].argmax()]
    else:
        (found,) = teacher.segment([image])
        at = found.ids[pixel(found.ids.shape, share)]
        assert at > 0, f"no mask at {share}, of {found.labels}"
        feature = teacher.encode_text(prompts([found.labels[at - 1]]))[0]
    return CLASSES[int(np.argmax(text @ feature))]


@of_kind("dense", "mask", "heat")
def test_a_teacher_sees_what_is_there(here):
    teacher = registry.load(here)
    for name, places in PLACES.items():
        image = photograph(name)
        for share, wanted in places:
            if wanted == "sky" and here in ONLY_THINGS:
                continue
            assert class_at(teacher, image, share) == wanted, (name, share)
    teacher.close()


@of_kind("captioner")
def test_a_captioner_names_a_flower(here):
    from sas_jax.teachers.contracts import Segments

    image = photograph("flower.jpg")
    ids = np.zeros(image.shape[:2], np.int32)
    ids[120:260, 250:400] = 1
    segments = Segments(ids, ["flower"], np.ones(1, np.float32))
    (sentence,) = registry.load(here).caption(image, segments)
    assert "flower" in sentence


@of_kind("text")
def test_a_tower_knows_that_a_couch_is_a_sofa(here):
    sofa, couch, bathtub = load_tower(here).encode(["a sofa", "a couch", "a bathtub"])
    assert sofa @ couch > sofa @ bathtub + 0.05


@of_kind("prompter")
def test_a_prompter_outlines_the_flower(here):
    image = photograph("flower.jpg")
    row, column = pixel(image.shape, PLACES["flower.jpg"][0][0])
    mask = load_prompter(here).mask(image, np.array([[row, column]]))
    assert mask[row, column] and 0.02 < mask.mean() < 0.6


@of_kind("synthesizer")
def test_attention_lies_on_what_is_painted(here):
    painter = load_synthesizer(here)
    made = painter.synthesize("a good photo of a red apple", "apple", [0])
    heat, red = made.attention[0], made.images[0].astype(int)
    redder = red[..., 0] - red[..., 1:].max(-1)
    assert (
        heat.max() == pytest.approx(1)
        and np.corrcoef(heat.ravel(), redder.ravel())[0, 1] > 0.2
    )
