"""Captioners: a sentence per mask, of which alignment keeps the adjectives.

`ColourSizeCaptioner` says only what it measures inside the mask: size, proportion and
colour. Its noun is a guess from the proportion alone, usually wrong - as a captioner's
noun is in general - and is replaced by the teacher's label later.
"""

import dataclasses
import functools

import cv2
import numpy as np
import webcolors
from jaxtyping import Bool, Float, UInt8

from sas_jax.artefacts.files import content_key
from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image, Segments, check_image, check_segments
from sas_jax.text.articles import with_article

COLOUR_WORDS = {
    "black": "black",
    "dimgray": "dark gray",
    "gray": "gray",
    "lightgray": "light gray",
    "white": "white",
    "firebrick": "red",
    "maroon": "dark red",
    "palevioletred": "pink",
    "chocolate": "orange",
    "goldenrod": "golden",
    "khaki": "yellow",
    "saddlebrown": "brown",
    "#4a2f1b": "dark brown",
    "tan": "light brown",
    "beige": "beige",
    "olivedrab": "green",
    "darkgreen": "dark green",
    "darkseagreen": "light green",
    "teal": "teal",
    "steelblue": "blue",
    "midnightblue": "dark blue",
    "lightblue": "light blue",
    "slateblue": "purple",
}
"""CSS colour (or hex value) -> the words of a person for it."""


@dataclasses.dataclass(frozen=True)
class CaptionConfig:
    """Set where a measurement becomes a word.

    Attributes:
      small: mask area over image area below which a thing is "small".
      large: the same ratio from which it is "large".
      elongated: ratio of the box's sides from which it is "tall" or "wide".
    """

    small: float = 0.02
    large: float = 0.2
    elongated: float = 2.2


class ColourSizeCaptioner:
    """Describe masks by measured size, proportion and colour."""

    def __init__(self, config: CaptionConfig | None = None):
        """Take thresholds; the defaults suit indoor frames."""
        self.config = config or CaptionConfig()
        self.id = f"colour-size/{content_key(self.config)}"

    def caption(self, image: Image, segments: Segments) -> list[str]:
        """Return one sentence per mask, such as "a large dark brown bench".

        Args:
          image: uint8 RGB [H, W, 3], the size of `segments.ids`.
          segments: the masks; their labels are not looked at.

        Returns:
          N sentences; sentence i describes mask id i + 1. An empty mask is "a thing".

        Raises:
          InputError: for an image or masks that break the contract.
        """
        check_image(image, "caption")
        check_segments(segments, "caption")
        return [
            self._describe(image, segments.ids == i + 1)
            for i in range(len(segments.labels))
        ]

    def _describe(self, image: Image, mask: Bool[np.ndarray, "H W"]) -> str:
        if not mask.any():
            return "a thing"
        words = self._size_words(mask)
        noun = {"tall": "column", "wide": "bench"}.get(words[-1] if words else "")
        words.append(colour_name(np.median(image[mask], axis=0)))
        return with_article(f"{' '.join(words)} {noun or 'object'}")

    def _size_words(self, mask: Bool[np.ndarray, "H W"]) -> list[str]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        area = mask.mean()
        words = []
        if area < self.config.small:
            words.append("small")
        elif area >= self.config.large:
            words.append("large")
        if height >= self.config.elongated * width:
            words.append("tall")
        elif width >= self.config.elongated * height:
            words.append("wide")
        return words


class SilentCaptioner:
    """Say nothing about any mask, so that the label alone is encoded."""

    id = "none"

    def caption(self, image: Image, segments: Segments) -> list[str]:
        """Return N empty sentences."""
        return [""] * len(segments.labels)


def load_colour_size(options: LoadOptions) -> ColourSizeCaptioner:
    """Return the captioner for the registry; it has no weights and no device."""
    return ColourSizeCaptioner()


def load_none(options: LoadOptions) -> SilentCaptioner:
    """Return the silent captioner for the registry."""
    return SilentCaptioner()


def colour_name(rgb: Float[np.ndarray, " 3"] | UInt8[np.ndarray, " 3"]) -> str:
    """Return the colour words nearest to an RGB value (0..255) in CIELAB.

    CIELAB distance follows what people call similar; RGB distance does not.
    """
    words, lab = _colour_table()
    distance = np.linalg.norm(lab - _to_lab(np.asarray(rgb)[None]), axis=1)
    return words[int(np.argmin(distance))]


@functools.cache
def _colour_table() -> tuple[tuple[str, ...], np.ndarray]:
    rgb = [
        webcolors.hex_to_rgb(name)
        if name.startswith("#")
        else webcolors.name_to_rgb(name)
        for name in COLOUR_WORDS
    ]
    return tuple(COLOUR_WORDS.values()), _to_lab(np.array(rgb, np.float32))


def _to_lab(rgb: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    scaled = (np.asarray(rgb, np.float32) / np.float32(255))[:, None]
    return cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB)[:, 0]
