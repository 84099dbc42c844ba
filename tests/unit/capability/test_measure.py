"""Capability: Eq. 3-5 by hand, both kinds of teachers, resuming, artefacts."""

import dataclasses

import formulas
import numpy as np
import pytest
from PIL import Image
from text_spaces import space

from sas_jax.artefacts import files
from sas_jax.capability import run as stage
from sas_jax.capability import store
from sas_jax.capability.config import CapabilityConfig
from sas_jax.capability.contracts import MaskConfig, Recipe, Synthesized
from sas_jax.capability.measure import (
    alarmed_scores,
    class_score,
    class_shares,
    dense_prediction,
    intersection_union,
    mask_prediction,
    measured_classes,
    teacher_prediction,
)
from sas_jax.classes import Vocabulary
from sas_jax.errors import ContractError, InputError
from sas_jax.fusion.stage import load_capability
from sas_jax.teachers.contracts import Segments, TeacherSpec

WORDS = ("red", "green", "blue", "other furniture")
VOCABULARY = Vocabulary("colours", WORDS, other_index=3)
COLORS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
SIZE = 16


def text_of(texts):
    """Known words get axes; `other` and the like lie between all of them."""
    rows = []
    for text in texts:
        row = np.array([float(word in text) for word in ("red", "green", "blue")])
        rows.append(row if row.any() else np.full(3, 0.5))
    rows = np.array(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclasses.dataclass
class ColorDense:
    """Its feature of a pixel is the pixel's colour; counts the images it has seen."""

    name: str = "color-dense"
    images: int = 0

    @property
    def spec(self):
        return TeacherSpec(self.name, "dense", space(3), 3, "random:0", {})

    def encode_text(self, texts):
        return text_of(texts)

    def features(self, images):
        self.images += len(images)
        return [image.astype(np.float16) / 255 for image in images]


class HalfMask:
    """One mask over the left half, labelled `lime green`, and one without a label."""

    spec = TeacherSpec("half-mask", "mask", space(3), 3, "random:0", {})

    def encode_text(self, texts):
        return text_of(texts)

    def segment(self, images, vocabulary=None):
        found = []
        for image in images:
            ids = np.zeros(image.shape[:2], np.int32)
            ids[:, : image.shape[1] // 2] = 1
            found.append(Segments(ids, ["lime green"], np.ones(1, np.float32)))
        return found


class SquareSynthesizer:
    """Paints a square of the class's colour; attention is exactly the square."""

    masks, one_thread, judge = MaskConfig(threshold=0.5), True, None

    def __init__(self, images_at_once=None):
        self.spec = {"model": "squares"}
        self.calls, self.images_at_once = [], images_at_once

    def synthesize(self, prompt, word, seeds):
        self.calls.append(word)
        images = np.full((len(seeds), SIZE, SIZE, 3), 90, np.uint8)
        maps = np.zeros((len(seeds), SIZE, SIZE), np.float32)
        for i, seed in enumerate(seeds):
            top = 2 + seed % 4
            images[i, top : top + 9, 4:13] = COLORS.get(word, (90, 90, 90))
            maps[i, top : top + 9, 4:13] = 1
        return Synthesized(images, maps, prompt, tuple(seeds))


class Unchanged:
    one_thread = True

    def __init__(self):
        self.spec = {"model": "hint"}

    def mask(self, image, points, hint=None):
        return hint > 0.5


def test_score_is_the_mean_of_ious_or_the_pooled_iou():
    pseudo = np.zeros((2, 4, 4), bool)
    teacher = np.zeros((2, 4, 4), bool)
    pseudo[0, :2], teacher[0, 1:3] = True, True  # 4 of 12
    pseudo[1, 0, 0], teacher[1, 0, 0] = True, True  # 1 of 1
    inter, union = intersection_union(pseudo, teacher)
    assert inter.tolist() == [4, 1]
    assert union.tolist() == [12, 1]
    assert class_score(pseudo, teacher, "paper") == pytest.approx((1 / 3 + 1) / 2)
    assert class_score(pseudo, teacher, "official") == pytest.approx(5 / 13)


@pytest.mark.parametrize("compat", ["paper", "official"])
def test_scores_are_those_of_the_formula_pixel_by_pixel(compat):
    rng = np.random.default_rng(0)
    for images in (1, 4):
        pseudo = rng.random((images, 7, 5)) < rng.random((images, 1, 1))
        classes = rng.integers(-1, 3, (images, 7, 5))
        pseudo[0], classes[0] = False, 2
        for index in range(3):
            wanted = formulas.capability(pseudo, classes, index, compat)
            got = class_score(pseudo, classes == index, compat)
            assert got == pytest.approx(wanted, abs=1e-12)


def test_empty_masks_say_nothing():
    pseudo, teacher = np.zeros((2, 3, 3), bool), np.zeros((2, 3, 3), bool)
    assert class_score(pseudo, teacher, "paper") == 0
    assert class_score(pseudo, teacher, "official") == 0
    pseudo[0], teacher[0] = True, True
    assert class_score(pseudo, teacher, "paper") == 1
    teacher[0] = False
    assert class_score(pseudo, teacher, "paper") == 0


def test_masks_of_other_shape_are_refused():
    with pytest.raises(ContractError, match="one shape"):
        intersection_union(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 3), bool))


def test_collecting_class_is_measured_only_where_the_paper_can():
    assert measured_classes(VOCABULARY, "paper") == WORDS
    assert measured_classes(VOCABULARY, "official") == WORDS[:3]
    bare = Vocabulary("v", ("red", "other"), other_index=1)
    assert measured_classes(bare, "paper") == ("red",)


def test_dense_teacher_takes_the_most_similar_word():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0], image[0, 0, 1] = COLORS["red"], COLORS["blue"]
    image[0, 1, 0], image[0, 1, 1] = COLORS["green"], (200, 200, 190)
    found = dense_prediction(ColorDense(), image, text_of(WORDS))
    assert found.tolist() == [[[0, 2], [1, 3]]]


def test_dense_teacher_may_see_enlarged_images():
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, :, :4], image[0, :, 4:] = COLORS["red"], COLORS["blue"]
    found = dense_prediction(ColorDense(), image, text_of(WORDS), edge=32)
    assert found.shape == (1, 8, 8)
    assert (found[0, :, :4] == 0).all()
    assert (found[0, :, 4:] == 2).all()


def test_mask_teacher_label_becomes_the_nearest_word():
    images = np.zeros((2, 6, 6, 3), np.uint8)
    found = mask_prediction(HalfMask(), images, text_of(WORDS), WORDS, edge=12)
    assert found.shape == (2, 6, 6)
    assert (found[:, :, :3] == 1).all()
    assert (found[:, :, 3:] == -1).all()


def test_another_contract_is_refused():
    teacher = ColorDense()
    heat = dataclasses.replace(teacher.spec, contract="heat")
    teacher = type("Heat", (), {"spec": heat, "encode_text": teacher.encode_text})()
    images = np.zeros((1, 4, 4, 3), np.uint8)
    with pytest.raises(InputError, match="dense or mask"):
        teacher_prediction(teacher, images, WORDS, CapabilityConfig())


def recipe_of(synthesizer):
    return Recipe(synthesizer, Unchanged(), synthesizer.masks)


def measure(folder, teacher, synthesizer=None, config=None, **more):
    config = config or CapabilityConfig(images_per_class=3)
    recipe = recipe_of(synthesizer or SquareSynthesizer())
    stage.make_images(folder, VOCABULARY, recipe, config)
    return stage.measure_teacher(folder, VOCABULARY, teacher, config, **more)


def test_a_teacher_that_sees_colours_scores_full_marks(tmp_path):
    table = measure(tmp_path, ColorDense())
    assert table.miou.tolist() == [1, 1, 1, pytest.approx(81 / 256)]
    assert table.measured.all()
    half = measure(tmp_path, HalfMask())
    columns = np.zeros((SIZE, SIZE), bool)
    columns[:, : SIZE // 2] = True
    square = np.zeros((SIZE, SIZE), bool)
    square[2:11, 4:13] = True
    wanted = (columns & square).sum() / (columns | square).sum()
    assert half.miou.tolist() == [0, pytest.approx(wanted), 0, 0]


def test_what_is_said_everywhere_costs_only_where_all_images_count(tmp_path):
    own = measure(tmp_path, HalfMask())
    counted = measure(tmp_path, HalfMask(), score="all")
    # Four of nine columns of every class's square are called green.
    wanted = (4 / 9) / (1 + 3 * 4 / 9)
    assert counted.miou.tolist() == [0, pytest.approx(wanted), 0, 0]
    assert counted.miou[1] < own.miou[1]
    assert counted.facts["score"] == "all" and "score" not in own.facts
    sure = measure(tmp_path, ColorDense(), score="all")
    assert sure.miou[:3].tolist() == [1, 1, 1]


def test_scores_over_all_images_are_those_of_a_literal_count():
    rng = np.random.default_rng(0)
    shares = np.zeros((4, 4))
    pseudo = rng.random((3, 2, 5, 5)) < 0.5
    said = rng.integers(-1, 4, (3, 2, 5, 5))
    for i in range(3):  # the last class is not painted
        shares[i] = class_shares(pseudo[i], said[i], 4)
    wanted = []
    for j in range(4):
        right = alarms = 0.0
        for i in range(3):
            inside = [
                s for s, p in zip(said[i].ravel(), pseudo[i].ravel(), strict=True) if p
            ]
            share = sum(s == j for s in inside) / len(inside)
            right, alarms = (share, alarms) if i == j else (right, alarms + share)
        wanted.append(right / (1 + alarms))
    np.testing.assert_allclose(alarmed_scores(shares), wanted)
    assert class_shares(np.zeros((1, 2, 2), bool), said[0, :1, :2, :2], 4).sum() == 0


def test_official_leaves_out_the_collecting_class(tmp_path):
    config = CapabilityConfig(images_per_class=2, compat="official")
    table = measure(tmp_path, ColorDense(), config=config)
    assert table.miou.tolist() == [1, 1, 1, 0]
    assert table.measured.tolist() == [True, True, True, False]
    assert not store.images_path(tmp_path, "other furniture").exists()


def test_what_is_current_is_not_made_again(tmp_path):
    synthesizer, teacher = SquareSynthesizer(), ColorDense()
    first = measure(tmp_path, teacher, synthesizer)
    assert (len(synthesizer.calls), teacher.images) == (4, 12)
    again = measure(tmp_path, teacher, synthesizer)
    assert (len(synthesizer.calls), teacher.images) == (4, 12)
    assert again.miou.tolist() == first.miou.tolist()


def test_a_damaged_class_is_made_again_and_only_that(tmp_path):
    synthesizer, teacher = SquareSynthesizer(), ColorDense()
    measure(tmp_path, teacher, synthesizer)
    path = store.images_path(tmp_path, "green")
    path.write_bytes(path.read_bytes()[:-7])
    measure(tmp_path, teacher, synthesizer)
    assert synthesizer.calls[4:] == ["green"]
    assert teacher.images == 12


def test_other_seeds_make_other_images(tmp_path):
    synthesizer, teacher = SquareSynthesizer(), ColorDense()
    measure(tmp_path, teacher, synthesizer)
    measure(
        tmp_path, teacher, synthesizer, CapabilityConfig(images_per_class=3, seed=5)
    )
    assert (len(synthesizer.calls), teacher.images) == (8, 24)


def test_table_on_disk_is_what_fusion_reads(tmp_path):
    table = measure(tmp_path, ColorDense())
    path = store.table_path(tmp_path, "color-dense")
    back = store.read_table(path)
    assert back.classes == WORDS
    assert back.miou.tolist() == table.miou.tolist()
    assert back.facts["teacher"]["weights_id"] == "random:0"
    fused = load_capability({"color-dense": path}, ["blue", "red"], space(3))
    np.testing.assert_allclose(fused, [[1, 1]])


def test_damaged_table_is_refused(tmp_path):
    measure(tmp_path, ColorDense())
    path = store.table_path(tmp_path, "color-dense")
    path.write_text(path.read_text().replace("1.0", "0.9"))
    with pytest.raises(InputError, match="checksum"):
        store.read_table(path)


class FailingSynthesizer(SquareSynthesizer):
    """Cannot paint blue."""

    def synthesize(self, prompt, word, seeds):
        if word == "blue":
            raise InputError(f"paint: no {word}.")
        return super().synthesize(prompt, word, seeds)


def test_classes_made_apart_have_the_same_files_and_errors_leave_the_others(tmp_path):
    """As workers do, which are given a class each."""
    config, done = CapabilityConfig(images_per_class=3), []
    teachers = (ColorDense(), ColorDense())
    for folder, teacher in zip("ab", teachers, strict=True):
        (tmp_path / folder).mkdir()
        if folder == "b":
            recipe = recipe_of(FailingSynthesizer())
            assert stage.unpainted(tmp_path / "b", VOCABULARY, recipe, config) == [
                *WORDS
            ]
            for name in ("green", "red"):
                only = {"only": [name]}
                stage.make_images(
                    tmp_path / "b", VOCABULARY, recipe, config, done.append, **only
                )
                stage.look_at(tmp_path / "b", VOCABULARY, teacher, config, name)
            with pytest.raises(InputError, match=r"paint: no blue\."):
                stage.make_images(tmp_path / "b", VOCABULARY, recipe, config)
            assert done == ["green"] * 3 + ["red"] * 3
            left = stage.unpainted(tmp_path / "b", VOCABULARY, recipe, config)
            assert left == ["blue", "other furniture"]
        measure(tmp_path / folder, teacher, config=config)
    assert teachers[0].images == teachers[1].images == 12  # none was looked at twice
    for path in (tmp_path / "a").rglob("*.*"):
        if path.suffix in (".safetensors", ".json"):
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.read_bytes() == other.read_bytes()


def test_sheets_show_every_row(tmp_path):
    config = CapabilityConfig(images_per_class=3)
    measure(tmp_path, ColorDense())
    measure(tmp_path, HalfMask())
    teachers = ["color-dense", "half-mask"]
    paths = stage.write_sheets(tmp_path, VOCABULARY, teachers, config)
    assert [path.stem for path in paths] == [*WORDS[:3], "other_furniture"]
    with Image.open(paths[0]) as sheet:
        assert sheet.size == (170 + 3 * 96, 6 * 96)


def test_sheets_are_of_what_this_run_measures(tmp_path):
    measure(tmp_path, HalfMask())  # leaves images of the collecting class
    config = CapabilityConfig(images_per_class=2, compat="official")
    measure(tmp_path, ColorDense(), config=config)
    paths = stage.write_sheets(tmp_path, VOCABULARY, ["color-dense"], config)
    assert [path.stem for path in paths] == list(WORDS[:3])


def test_number_of_images_must_be_positive():
    with pytest.raises(InputError, match="images_per_class >= 1"):
        CapabilityConfig(images_per_class=0)


def test_images_survive_the_disk(tmp_path):
    measure(tmp_path, ColorDense())
    entry = store.read_images(tmp_path, "red")
    assert entry.images.dtype == np.uint8
    assert entry.coarse.dtype == bool
    assert (entry.coarse == (entry.attention > 0.5)).all()
    assert files.is_current(store.images_path(tmp_path, "red"), entry.key)
