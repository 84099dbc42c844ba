"""A dense teacher in a text space of its own, with the tower: all that one file needs.

It knows nothing: colours go through a random matrix, texts are sums of random letters.
The lines that a user would add to the tables are in the test that uses it.
"""

import numpy as np

from sas_jax.artefacts.space import TextSpace
from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import TeacherSpec, check_image

SPACE = TextSpace("letters", "0123456789abcdef" * 4, 48)
_RANDOM = np.random.default_rng(0)
LETTERS = _RANDOM.normal(size=(128, SPACE.dim)).astype(np.float32)
COLOURS = _RANDOM.normal(size=(4, SPACE.dim)).astype(np.float32)


class LetterTower:
    """A `TextTower` (see text/registry.py)."""

    space = SPACE

    def encode(self, texts):
        sums = [LETTERS[[ord(c) % 128 for c in text]].sum(0) for text in texts]
        rows = np.array(sums, np.float32).reshape(-1, SPACE.dim)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def check(self, texts):
        """Every letter is known."""


class ColourTeacher:
    """A `DenseTeacher` (see teachers/contracts.py) on every second pixel."""

    spec = TeacherSpec("colours", "dense", SPACE, SPACE.dim, "random:0", {"every": 2})
    encode_text = LetterTower.encode

    def features(self, images):
        for image in images:
            check_image(image, "colours")
        halves = [image[::2, ::2].astype(np.float32) / 255 for image in images]
        return [(x @ COLOURS[:3] + COLOURS[3]).astype(np.float16) for x in halves]

    def to(self, device):
        return self

    def close(self):
        """There are no weights."""


def load(options: LoadOptions) -> ColourTeacher:
    return ColourTeacher()


def load_tower(space: TextSpace | None) -> LetterTower:
    return LetterTower()
