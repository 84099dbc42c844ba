"""CLIP's text towers in PyTorch: against f64, layouts of checkpoints, damage."""

import re

import clip_oracle
import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.text import clip_weights

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from sas_jax.teachers import clip_text  # noqa: E402

TINY = clip_weights.Size(dim=24, width=32, layers=3, heads=4, vocabulary=99, length=20)
TEXTS = ["a red chair in a scene", "other", "", "Ünïcode refrigerator!", "word " * 90]


def tiny_ids():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 97, (5, 20))
    for row, end in zip(ids, (1, 4, 10, 18, 19), strict=True):
        row[0], row[end], row[end + 1 :] = 97, 98, 0
    return ids


@pytest.fixture(scope="module")
def tiny():
    """A tower whose norms and biases matter too."""
    rng = np.random.default_rng(1)
    tower = clip_weights.random_tower(TINY, 0)
    return {
        name: array + rng.normal(0, 0.1, array.shape).astype(np.float32)
        for name, array in tower.items()
    }


def projected(tower, ids, heads):
    network = clip_text.network(tower, heads=heads)
    with torch.no_grad():
        return network(input_ids=torch.from_numpy(ids)).text_embeds.numpy()


def test_a_tiny_tower_computes_the_formula(tiny):
    ids = tiny_ids()
    expected = clip_oracle.tower(tiny, ids, TINY.heads)
    np.testing.assert_allclose(projected(tiny, ids, 4), expected, rtol=0, atol=1e-5)
    assert np.abs(expected).max() > 1


def as_transformers(tower):
    return clip_weights.to_transformers(tower)


def as_whole_clip(tower):
    more = {"visual.positional_embedding": np.zeros((50, 8), np.float32)}
    return {**tower, **more, "logit_scale": np.zeros((), np.float32)}


def as_lseg(tower):
    return {f"net.clip_pretrained.{k}": v for k, v in as_whole_clip(tower).items()}


@pytest.mark.parametrize("layout", [as_transformers, as_whole_clip, as_lseg])
@pytest.mark.parametrize("half", [False, True])
def test_all_layouts_hold_one_tower(tiny, layout, half):
    halves = {name: array.astype(np.float16) for name, array in tiny.items()}
    floats = {name: array.astype(np.float32) for name, array in halves.items()}
    state = layout(halves if half else floats)
    found = clip_weights.text_tower(state, "file")
    assert found.keys() == tiny.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, halves[name])
        assert array.dtype == np.float32
    assert clip_weights.digest(found) == clip_weights.digest(tiny)
    assert clip_weights.size_of(found, heads=4) == TINY


def test_transformers_takes_the_names(tiny):
    network = clip_text.network(tiny, heads=4)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    back = clip_weights.text_tower(state, "file")
    for name, array in back.items():
        np.testing.assert_array_equal(array, tiny[name])


@pytest.mark.parametrize("layout", [as_transformers, as_lseg])
def test_what_is_missing_or_misshapen_is_named(tiny, layout):
    whole = layout(tiny)
    for name in whole:
        if "visual" in name or "logit" in name:
            continue
        state = {k: v for k, v in whole.items() if k != name}
        anchor = name.endswith("token_embedding.weight")
        said = "no token_embedding.weight" if anchor else re.escape(name)
        with pytest.raises(InputError, match=rf"{said}.*some\.file"):
            clip_weights.text_tower(state, "some.file", TINY)
        state = {**whole, name: whole[name][..., :-1]}
        with pytest.raises(InputError, match=rf"{re.escape(name)} .*some\.file"):
            clip_weights.text_tower(state, "some.file", TINY)


@pytest.mark.parametrize("layout", [as_transformers, as_lseg])
def test_weights_that_are_no_numbers_are_refused(tiny, layout):
    for name, array in tiny.items():
        state = layout({**tiny, name: np.full_like(array, np.nan)})
        with pytest.raises(InputError, match=rf"finite.*{re.escape(name)} \(a\.file"):
            clip_weights.text_tower(state, "a.file", TINY)
        state = layout({**tiny, name: array.astype(np.int8)})
        with pytest.raises(InputError, match=r"floating point, got .* of int8.*a\.fil"):
            clip_weights.text_tower(state, "a.file", TINY)


def test_a_random_tower_is_a_function_of_its_seed():
    one, two, other = (clip_weights.random_tower(TINY, seed) for seed in (0, 0, 1))
    assert clip_weights.digest(one) == clip_weights.digest(two)
    assert clip_weights.digest(one) != clip_weights.digest(other)
    # Whatever the machine: both halves and all features of a run rely on it.
    assert one["text_projection"][0, 0] == pytest.approx(-0.25514942, abs=1e-8)


def test_vectors_are_the_same_in_any_company(tiny):
    one = clip_text.load("clip-vit-b32", weights="random:0")
    alone = one.encode(TEXTS[:1])
    one._known.clear()
    np.testing.assert_array_equal(one.encode(TEXTS[::-1])[-1:], alone)
    assert one.encode([]).shape == (0, 512)


def test_a_tower_is_taken_out_of_a_checkpoint():
    size = clip_weights.SIZES["clip-vit-b32"]
    tower = clip_weights.random_tower(size, 5)
    state = {n: torch.from_numpy(a).half() for n, a in as_lseg(tower).items()}
    found = clip_text.from_state("clip-vit-b32", state, "demo.ckpt")
    expected = clip_text.load("clip-vit-b32", weights="random:5").encode(TEXTS)
    np.testing.assert_allclose(found.encode(TEXTS), expected, rtol=0, atol=2e-3)
    assert found.space.weights_sha256 == clip_weights.digest(tower)
    with pytest.raises(InputError, match="shapes"):
        clip_text.from_state("clip-vit-l14-336", state, "demo.ckpt")
