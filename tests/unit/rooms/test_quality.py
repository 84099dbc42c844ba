"""Quality of pseudo masks: IoU with known masks, by stand-ins that know the answer."""

import numpy as np
import pytest
from PIL import Image

from sas_jax.capability.contracts import (
    JudgeOptions,
    MaskConfig,
    Recipe,
    Synthesized,
)
from sas_jax.rooms.catalogue import named_designs
from sas_jax.rooms.layout import RoomConfig
from sas_jax.rooms.painter import quality
from sas_jax.rooms.painter.captions import Seen
from sas_jax.rooms.painter.crops import Crops
from sas_jax.rooms.painter.quality import QualityConfig, RenderJudge, measure_quality
from sas_jax.rooms.scan.config import FIRST_HELD_OUT_SEED

CHAIR, TABLE, SIZE = 4, 6, 16
MASKS = MaskConfig(threshold=0.5)


def renders():
    """Three chairs and one table, each the left part of its image."""
    images = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    labels = np.zeros((4, SIZE, SIZE), np.uint8)
    focus = np.array([CHAIR, CHAIR, TABLE, CHAIR], np.uint8)
    for row, kind in enumerate(focus):
        labels[row, :, : 4 + row] = kind
        images[row, :, : 4 + row] = 255
    return Crops(images, labels, focus, [[Seen("chair", "chair", "", 0.3)]] * 4)


class BrightSynthesizer:
    """Its attention is the image's brightness; redrawing changes nothing."""

    def __init__(self):
        self.spec = {"model": "bright"}
        self.asked = []

    def redraw(self, images, prompt, word, seeds, strength):
        self.asked.append((prompt, word, tuple(seeds), strength))
        heat = (images[..., 0] / 255).astype(np.float32)
        return Synthesized(images, heat, prompt, tuple(seeds))


class OneColumnMore:
    def __init__(self):
        self.spec = {"model": "one more"}

    def mask(self, image, points, hint=None):
        grown = hint > 0.5
        return grown | np.roll(grown, 1, axis=1)


def recipe(synthesizer):
    return Recipe(synthesizer, OneColumnMore(), MASKS)


def test_iou_is_the_mean_over_the_renders_of_a_class():
    synthesizer = BrightSynthesizer()
    config = QualityConfig(images_per_class=2, strength=0.7)
    chair, table = measure_quality(renders(), recipe(synthesizer), config)
    assert (chair.name, table.name) == ("chair", "table")
    assert chair.coarse_iou == 1
    assert chair.refined_iou == pytest.approx((4 / 5 + 5 / 6) / 2)
    assert table.refined_iou == pytest.approx(6 / 7)
    assert chair.control_iou == pytest.approx((4 / 6 + 5 / 5) / 2)
    assert table.control_iou is None
    assert synthesizer.asked[0] == ("a good photo of a chair", "chair", (0, 1), 0.7)


def test_table_holds_classes_and_means():
    found = measure_quality(renders(), recipe(BrightSynthesizer()))
    table = quality.quality_table(found)
    assert list(table["classes"]) == ["chair", "table"]
    assert table["classes"]["chair"]["images"] == 3
    assert table["mean"]["coarse_iou"] == 1
    refined = [row["refined_iou"] for row in table["classes"].values()]
    assert table["mean"]["refined_iou"] == pytest.approx(np.mean(refined))
    assert table["classes"]["table"]["control_iou"] is None
    assert set(quality.quality_table([])["mean"].values()) == {None}


def test_judging_is_done_once_and_leaves_pictures(tmp_path, monkeypatch):
    made = []

    def rooms(seeds, config, room, progress):
        made.append(room)
        assert min(seeds) >= FIRST_HELD_OUT_SEED
        return renders()

    monkeypatch.setattr(quality, "make_crops", rooms)
    synthesizer, typical = (
        BrightSynthesizer(),
        RoomConfig(designs=named_designs("typical")),
    )
    first = RenderJudge(typical).judge(tmp_path, recipe(synthesizer))
    again = RenderJudge(typical).judge(tmp_path, recipe(synthesizer))
    assert first == again and first["coarse_iou"] == 1
    assert made == [typical]
    with Image.open(tmp_path / "quality" / "chair.png") as sheet:
        assert sheet.size == (170 + 3 * 96, 5 * 96)
    other = QualityConfig(seed=1)
    RenderJudge(typical, other).judge(tmp_path, recipe(synthesizer))
    assert len(made) == 2
    RenderJudge(RoomConfig(), other).judge(tmp_path, recipe(synthesizer))
    assert made == [typical, typical, RoomConfig()]


def test_the_loader_keeps_defaults_where_nothing_is_said():
    judge = quality.load(JudgeOptions())
    assert judge._config == QualityConfig()
    assert judge._rooms == RoomConfig(designs=named_designs("typical"))
    judge = quality.load(JudgeOptions(2, "official", "all"))
    assert judge._config == QualityConfig(images_per_class=2, compat="official")
    assert judge._rooms == RoomConfig()
