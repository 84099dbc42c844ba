"""Which mask of a frame a point lies in, worked out by hand on a wall."""

import numpy as np
import pytest
from walls import NO_BORDER, ColourTeacher, LeftRightTeacher, frame, scene

from sas_jax.errors import InputError
from sas_jax.lifting.seen_masks import UNSEEN, checked_masks, seen_masks
from sas_jax.teachers.contracts import Segments


class CoarseTeacher(LeftRightTeacher):
    """Give masks on a grid of 2 x 2 cells."""

    def segment(self, images, vocabulary=None):
        ids = np.array([[1, 2], [3, 4]], np.int32)
        names, scores = list("abcd"), np.ones(4, np.float32)
        return [Segments(ids, names, scores) for _ in images]


def test_points_have_the_masks_of_their_pixels_frame_by_frame():
    # Point 0 leaves the second image; point 2 lies behind the plane, 3 far outside.
    frames = [frame("a", (0, 0, 0)), frame("b", (0, 0, 0), shift_x=1.0)]
    found = list(seen_masks(scene(frames), LeftRightTeacher(), NO_BORDER))
    assert [each.tolist() for each in found] == [
        [1, 0, UNSEEN, UNSEEN],
        [UNSEEN, 1, UNSEEN, UNSEEN],
    ]


def test_masks_may_be_on_the_teachers_own_grid():
    (found,) = seen_masks(scene([frame("a", (0, 0, 0))]), CoarseTeacher(), NO_BORDER)
    assert found.tolist() == [1, 4, UNSEEN, UNSEEN]


def test_a_teacher_without_masks_is_refused():
    assert checked_masks(teacher := LeftRightTeacher()) is teacher
    with pytest.raises(InputError, match=r"pixel-colour.*Correct --mask_votes"):
        checked_masks(ColourTeacher())
