"""Heat maps become masks: the hottest prompt of every pixel, or void."""

import numpy as np
import pytest
from text_spaces import space

from sas_jax.artefacts.files import content_key
from sas_jax.errors import ContractError
from sas_jax.teachers.contracts import TeacherSpec, check_segments
from sas_jax.teachers.heat import LabelledHeat, hottest

NAMES = ("bed", "desk", "lamp")


class Glow:
    """A `HeatTeacher`: one channel of the image per prompt, on a coarser grid."""

    spec = TeacherSpec("glow", "heat", space(8), 8, "random:0", {"every": 2})

    def heat(self, images, prompts):
        maps = [image[::2, ::2].transpose(2, 0, 1) / 16.0 - 8 for image in images]
        return [each[: len(prompts)].astype(np.float16) for each in maps]

    def encode_text(self, texts):
        return np.eye(8, dtype=np.float32)[: len(texts)]

    def to(self, device):
        return self

    def close(self):
        self.closed = True


def literal(logits, size_hw, threshold):
    """Return ids of a heat map of the image's own size, pixel by pixel."""
    ids = np.zeros(size_hw, int)
    for y in range(size_hw[0]):
        for x in range(size_hw[1]):
            at = int(np.argmax(logits[:, y, x]))
            if 1 / (1 + np.exp(-float(logits[at, y, x]))) >= threshold:
                ids[y, x] = at + 1
    return ids


def test_every_pixel_takes_its_hottest_prompt():
    logits = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float16)
    found = hottest(logits, NAMES, (6, 5), 0.6)
    check_segments(found, "test")
    wanted = literal(logits, (6, 5), 0.6)
    assert 0 < (wanted == 0).sum() < wanted.size
    named = np.array(["", *found.labels])[found.ids]
    np.testing.assert_array_equal(named, np.array(["", *NAMES])[wanted])
    np.testing.assert_array_equal(found.label_map, logits.argmax(0))


def test_nothing_above_the_threshold_is_void():
    found = hottest(np.full((3, 2, 2), -4.0), NAMES, (7, 3))
    assert not found.ids.any() and found.labels == [] and found.scores.shape == (0,)


def test_a_heat_teacher_is_a_mask_teacher_of_a_vocabulary():
    image = np.zeros((8, 6, 3), np.uint8)
    image[:, :3, 0], image[:, 3:, 1] = 200, 250
    teacher = LabelledHeat(Glow(), NAMES)
    (found,) = teacher.segment([image])
    assert found.labels == ["bed", "desk"] and found.ids.shape == (8, 6)
    assert found.ids[0, 0] == 1 and found.ids[7, 5] == 2
    (other,) = teacher.segment([image], ["sofa", "chair"])
    assert other.labels == ["sofa", "chair"]
    assert teacher.spec.contract == "mask"
    keys = [
        content_key(LabelledHeat(Glow(), names, threshold).spec)
        for names, threshold in ((NAMES, 0.5), (NAMES[:2], 0.5), (NAMES, 0.6))
    ]
    assert len(set(keys)) == 3


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ContractError, match="3 maps"):
        hottest(np.zeros((2, 4, 4)), NAMES, (4, 4))
    with pytest.raises(ContractError, match="class name"):
        LabelledHeat(Glow(), ())
