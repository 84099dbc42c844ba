"""What a teacher is: numpy in, numpy out, and a spec that names all that matters.

Three kinds: a *dense* teacher gives every pixel a vector in a text space, a *mask*
teacher gives masks with labels, a *heat* teacher gives one map per prompt. A
*captioner* describes masks. H, W image size; h, w the teacher's own grid; C length of
a text feature; N masks. Images are uint8 RGB [H, W, 3]; batches are lists, order is
kept, sizes may differ. How many images come at once is the caller's choice, and an
image has the same result in any company: to the bit on a CPU, and within the last bits
of half precision on a GPU (`batches.together` says which images may share a batch).
Half precision is the registry's (`precision`): what an adapter does after its network
begins with `.float()`, which does nothing in f32.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeGuard

import numpy as np
from jaxtyping import Float, Float16, Int32, UInt8

from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import ContractError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

Image = UInt8[np.ndarray, "H W 3"]
Contract = Literal["dense", "mask", "heat"]


@dataclasses.dataclass(frozen=True)
class TeacherSpec:
    """Name everything that changes a teacher's numbers; its content key keys caches.

    Attributes:
      name: name in the registry.
      contract: `dense`, `mask` or `heat`.
      text_space: the space that the features live in; for a mask teacher the shared
        one that alignment encodes its labels with.
      feat_dim: C of that space; 0 where no features can be had.
      weights_id: hash of the checkpoint's content, or `random:<seed>`.
      preprocess: resize rule, mean, flip and so on, as JSON values.
      impl: raised by one whenever the code changes the numbers.
    """

    name: str
    contract: Contract
    text_space: TextSpace
    feat_dim: int
    weights_id: str
    preprocess: Mapping[str, Any]
    impl: int = 1


@dataclasses.dataclass
class Segments:
    """Hold the masks of one image.

    Attributes:
      ids: int32 [H, W]; 0 is void, 1..N are masks.
      labels: N class names; `labels[i]` names the mask `i + 1`.
      scores: float32 [N], in [0, 1].
      captions: N sentences or None; same order as `labels`.
      label_map: int32 [H, W] semantic argmax into `label_names`, or None.
      label_names: names of `label_map`.
    """

    ids: Int32[np.ndarray, "H W"]
    labels: list[str]
    scores: Float[np.ndarray, " N"]
    captions: list[str] | None = None
    label_map: Int32[np.ndarray, "H W"] | None = None
    label_names: tuple[str, ...] = ()


class Teacher(Protocol):
    """Common part of every teacher."""

    spec: TeacherSpec

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors in the teacher's text space."""

    def to(self, device: str) -> "Teacher":
        """Move the weights to `cpu` or `cuda:<n>` and return the teacher."""

    def close(self) -> None:
        """Free the weights."""


class DenseTeacher(Teacher, Protocol):
    """Image to a vector per pixel."""

    def features(self, images: Sequence[Image]) -> list[Float16[np.ndarray, "h w C"]]:
        """Return the teacher's own grid and scale for every image."""


class MaskTeacher(Teacher, Protocol):
    """Image to masks with labels."""

    def segment(
        self, images: Sequence[Image], vocabulary: Sequence[str] | None = None
    ) -> list[Segments]:
        """Return masks; `vocabulary` asks for other names where the model can."""


class HeatTeacher(Teacher, Protocol):
    """Image and prompts to a map per prompt; `heat.LabelledHeat` makes masks of it."""

    def heat(
        self, images: Sequence[Image], prompts: Sequence[str]
    ) -> list[Float16[np.ndarray, "P h w"]]:
        """Return the logits of every prompt on the teacher's own grid."""


def is_dense(teacher: Teacher) -> TypeGuard[DenseTeacher]:
    """Tell whether a teacher says that it is a dense one."""
    return teacher.spec.contract == "dense"


def is_mask(teacher: Teacher) -> TypeGuard[MaskTeacher]:
    """Tell whether a teacher says that it is a mask teacher."""
    return teacher.spec.contract == "mask"


def is_heat(teacher: Teacher) -> TypeGuard[HeatTeacher]:
    """Tell whether a teacher says that it is a heat teacher."""
    return teacher.spec.contract == "heat"


class TorchTower(Protocol):
    """The text tower of a space.

    Attributes:
      space: of its vectors.
    """

    space: TextSpace

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors, f32, in the order given."""

    def to(self, device: str) -> object:
        """Move the weights."""

    def close(self) -> None:
        """Free the weights."""


class Captioner(Protocol):
    """Masks to sentences.

    Attributes:
      id: names everything that changes the sentences but the code: the captioner, a
        hash of its weights (see `weights_id`) and its settings. It goes into keys.
    """

    id: str

    def caption(self, image: Image, segments: Segments) -> list[str]:
        """Return one sentence per mask, in the order of `segments.labels`."""


def check_image(image: np.ndarray, where: str) -> None:
    """Raise ContractError unless `image` is uint8 RGB with at least one pixel."""
    shape, dtype = np.shape(image), getattr(image, "dtype", None)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
        raise ContractError(
            f"{where}: an image must be uint8 [H, W, 3], got {dtype} {list(shape)}. "
            "Convert it to 8-bit RGB."
        )


def check_segments(segments: Segments, where: str) -> None:
    """Raise ContractError unless ids, labels, scores and captions fit each other."""
    num = len(segments.labels)
    lowest, highest = (
        (int(segments.ids.min()), int(segments.ids.max()))
        if segments.ids.size
        else (0, 0)
    )
    if lowest < 0 or highest > num:
        raise ContractError(
            f"{where}: mask ids must lie in 0..{num} (the number of labels), got "
            f"{lowest}..{highest}. Give every mask a label."
        )
    if len(segments.scores) != num:
        raise ContractError(
            f"{where}: one score per mask is needed, got {len(segments.scores)} for "
            f"{num} masks. Give every mask a score."
        )
    if segments.captions is not None and len(segments.captions) != num:
        raise ContractError(
            f"{where}: one caption per mask is needed, got {len(segments.captions)} "
            f"for {num} masks. Caption [i] belongs to mask id i + 1."
        )


def check_masks(image: np.ndarray, segments: Segments, where: str) -> None:
    """Raise ContractError unless both are right and the masks are of the image."""
    check_image(image, where)
    check_segments(segments, where)
    if segments.ids.shape != image.shape[:2]:
        raise ContractError(
            f"{where}: masks of the image's size {list(image.shape[:2])} are required, "
            f"got {list(segments.ids.shape)}. Resample them."
        )
