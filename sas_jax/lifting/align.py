"""Model alignment via text: masks with labels become pixels in the shared text space.

A mask's caption is reworded so that its noun is the teacher's label ("a wooden bench"
and "table" give "a wooden table"), the sentence is encoded, and every pixel of the
mask gets that vector. H, W image; M distinct sentences; C length of a text feature.

Source: SAS (arXiv 2503.08512) section 3.1.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

from sas_jax.errors import InputError
from sas_jax.lifting.lift import VOID, MaskFeatures
from sas_jax.teachers.contracts import Segments, check_segments
from sas_jax.text.wording import adjectives_of, official_sentence, reword


class TextEncoder(Protocol):
    """What alignment needs of a text tower."""

    dim: int

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors."""


def align(
    segments: Segments,
    encoder: TextEncoder,
    *,
    compat: Literal["paper", "official"] = "paper",
) -> MaskFeatures:
    """Give every pixel of every mask the text feature of its reworded caption.

    Args:
      segments: masks with labels; without captions the label alone is worded.
      encoder: text tower of the shared space.
      compat: `paper` keeps the caption's whole sentence and swaps its noun, one
        sentence per mask. `official` (the authors' code) keeps only the adjectives,
        of whatever in the caption and as often as they are said, as
        "a <adj and adj> <noun> in a scene", and takes the noun of every pixel from
        the semantic map where there is one; void pixels then get a noun without
        adjectives.

    Returns:
      One feature per mask: float16 [M, C] unit vectors, int32 [H, W] index, -1 in
      the void. A label of the collecting class ("other") is the bare
      word, because its text feature is that of the bare word too.

    Raises:
      InputError: when ids, labels and captions do not fit, or for another `compat`.

    Source: SAS section 3.1; authors' code seem_feat/fusion_util.py, whose captions
      are shifted by one mask (a bug that is not reproduced).
    """
    check_segments(segments, "align")
    if compat == "paper":
        sentences, index = _paper_sentences(segments)
    elif compat == "official":
        sentences, index = _official_sentences(segments)
    else:
        raise InputError(
            f"align: compat must be paper or official, got {compat}. Choose one."
        )
    texts = list(dict.fromkeys(sentences))
    row = np.array([texts.index(s) for s in sentences] + [VOID], np.int32)
    codebook = encoder.encode(texts).astype(np.float16).reshape(-1, encoder.dim)
    return MaskFeatures(codebook, row[index])


def _paper_sentences(segments: Segments) -> tuple[list[str], np.ndarray]:
    captions = segments.captions or [""] * len(segments.labels)
    pairs = zip(captions, segments.labels, strict=True)
    return [_sentence(caption, label) for caption, label in pairs], segments.ids - 1


def _sentence(caption: str, label: str) -> str:
    return reword(caption, label) if caption else official_sentence((), label)


def _official_sentences(segments: Segments) -> tuple[list[str], np.ndarray]:
    if not segments.labels:  # the authors' code skips an image without a mask
        return [], np.full(segments.ids.shape, VOID, np.int64)
    captions = ["", *(segments.captions or [""] * len(segments.labels))]
    if segments.label_map is None:
        sentences = [
            official_sentence(adjectives_of(caption), label)
            for caption, label in zip(captions[1:], segments.labels, strict=True)
        ]
        return sentences, segments.ids - 1
    num = len(segments.label_names)
    pairs, index = np.unique(
        segments.ids * num + segments.label_map, return_inverse=True
    )
    sentences = [
        official_sentence(adjectives_of(captions[i]), segments.label_names[k])
        for i, k in zip(pairs // num, pairs % num, strict=True)
    ]
    return sentences, index.reshape(segments.ids.shape)
