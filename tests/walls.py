"""A flat wall, one camera and teachers that can be worked out by hand."""

import dataclasses

import numpy as np
from text_spaces import space

from sas_jax.lifting.config import ExtractConfig, LiftConfig
from sas_jax.scenes.scene import Frame, Scene
from sas_jax.teachers.contracts import Segments, TeacherSpec

SPEC = TeacherSpec("pixel-colour", "dense", space(3), 3, "none", {})
NO_BORDER = ExtractConfig(lift=LiftConfig(border_px=0))


class ColourTeacher:
    """Give each pixel its own colour / 255 as feature."""

    spec = SPEC

    def __init__(self):
        self.batches = []

    def features(self, images):
        self.batches.append(len(images))
        return [(image / 255).astype(np.float16) for image in images]

    def encode_text(self, texts):
        return np.eye(3, dtype=np.float32)[[len(text) % 3 for text in texts]]


class LeftRightTeacher(ColourTeacher):
    """Give a mask to the left half of the image and leave the rest void."""

    spec = dataclasses.replace(SPEC, name="left", contract="mask")

    def segment(self, images, vocabulary=None):
        out = []
        for image in images:
            ids = np.zeros(image.shape[:2], np.int32)
            ids[:, : image.shape[1] // 2] = 1
            out.append(Segments(ids, ["bed"], np.ones(1, np.float32)))
        return out


@dataclasses.dataclass
class Frames:
    """Serve frames from memory."""

    frames: list

    @property
    def names(self):
        return tuple(frame.name for frame in self.frames)

    def read(self, name):
        return next(frame for frame in self.frames if frame.name == name)


def frame(name, colour, shift_x=0.0):
    """See the plane z = 2 with 8 x 6 pixels, one pixel per 0.25 m."""
    pose = np.eye(4)
    pose[0, 3] = shift_x
    intrinsics = np.array([[8.0, 0, 3.5], [0, 8.0, 2.5], [0, 0, 1]])
    rgb = np.broadcast_to(colour, (6, 8, 3)).astype(np.uint8)
    return Frame(name, rgb, np.full((6, 8), 2, np.float32), intrinsics, pose)


def scene(frames):
    points = np.array(
        [[-0.8, 0, 2], [0.6, 0.1, 2], [0.6, 0.1, 3], [9, 0, 2]], np.float32
    )
    return Scene("plane", points, frame_source=Frames(frames))
