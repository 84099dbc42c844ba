"""The adapter of OpenSeg: images through the worker, features at the image's size.

Source: OpenSeg, arXiv 2112.12143; the call of the published SavedModel, the crop by
  `image_info` and the nearest resize with aligned corners as in OpenScene (arXiv
  2211.15654), whose recipe SAS uses outdoors.
"""

import hashlib
import io
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float16, Int
from PIL import Image as Picture

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import clip_text
from sas_jax.teachers.contracts import Image, TeacherSpec, check_image
from sas_jax.teachers.openseg import worker
from sas_jax.teachers.openseg.process import Worker
from sas_jax.weights.cards import cards
from sas_jax.weights.find import find_file, seed_of

VERSION = 1
"""Raised when its numbers change; see `artefacts.versions`."""

PYTHON = "SAS_OPENSEG_PYTHON"
"""Names the interpreter that has TensorFlow; without it, the one that runs."""

START_SECONDS = 600.0
IMAGE_SECONDS = 600.0
LONGEST_SIDE = 1024
"""Features of larger images stay on OpenSeg's grid: enlarged, a photograph of 12
megapixels would fill 19 GB with copies."""

_GRAPH = "saved_model.pb"


class OpenSeg:
    """A `DenseTeacher` (see contracts.py) in the space of CLIP ViT-L/14 at 336 pixels.

    The process lives as long as the teacher.
    """

    def __init__(self, model: str, weights_id: str, text, device: str = "cpu"):
        """Start the worker.

        Args:
          model: folder of the SavedModel, or `random:<seed>`.
          weights_id: of its content.
          text: the text tower, see `clip_text.load`.
          device: `cpu` or `cuda:<n>`, for both.

        Raises:
          InputError: when the worker does not start, or has no TensorFlow.
        """
        self._model, self._text, self._device = model, text, device
        self._worker = _start(model, device)
        self.spec = TeacherSpec(
            name="openseg",
            contract="dense",
            text_space=text.space,
            feat_dim=text.space.dim,
            weights_id=weights_id,
            preprocess={
                "encoding": "png",
                "output": "ppixel_ave_feat",
                "crop": "image_info",
                "resize": "nearest, aligned corners, to the image",
                "longest_side": LONGEST_SIDE,
                "runs_on": self._worker.runs_on,
            },
        )

    def features(self, images: Sequence[Image]) -> list[Float16[np.ndarray, "h w 768"]]:
        """Return a vector per pixel, of the scale that OpenSeg gives it.

        Args:
          images: uint8 RGB of any sizes.

        Returns:
          Per image f16 [H, W, 768] of its own size, or [h, w, 768] on OpenSeg's grid
          where a side is longer than `LONGEST_SIDE`.

        Raises:
          ContractError: when an image breaks the contract.
          InputError: with the worker's error, when it ends or when it is late.
        """
        for image in images:
            check_image(image, "openseg")
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Float16[np.ndarray, "h w 768"]:
        answer = self._worker.ask(_png(image), seconds=IMAGE_SECONDS)
        grid = np.load(io.BytesIO(answer), allow_pickle=False)
        if max(image.shape) > LONGEST_SIDE:
            return grid
        rows, columns = (
            nearest_aligned(have, want)
            for have, want in zip(grid.shape, image.shape[:2], strict=False)
        )
        return grid[rows[:, None], columns]

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n 768"]:
        """Return unit vectors of texts in the same space."""
        return self._text.encode(texts)

    def to(self, device: str) -> "OpenSeg":
        """Move to a device: the worker is started again there."""
        self._text.to(device)
        if device != self._device:
            self._worker.close()
            self._worker, self._device = _start(self._model, device), device
        return self

    def close(self) -> None:
        """End the worker and free the weights."""
        self._worker.close()
        self._text.close()


def nearest_aligned(have: int, want: int) -> Int[np.ndarray, " want"]:
    """Return the source index of each target index, corners on corners.

    Args:
      have: edge of the source, at least 1.
      want: edge of the target, at least 1.

    Source: ResizeNearestNeighbor of TensorFlow with align_corners: the product of
      index and (have - 1) / (want - 1) in f32, halves rounded away from zero; a single
      target index is source index 0.
    """
    step = np.float32(have - 1) / np.float32(want - 1) if want > 1 else np.float32(0)
    exact = (np.arange(want, dtype=np.float32) * step).astype(np.float64)
    return np.minimum(np.floor(exact + 0.5).astype(np.int64), have - 1)


def load(options: LoadOptions) -> OpenSeg:
    """Load the teacher for the registry.

    Raises:
      WeightsMissing: when the SavedModel or the text tower is not on this machine.
      InputError: when the worker does not start, or has no TensorFlow.
    """
    if options.weights and seed_of(options.weights) is not None:
        model = weights_id = tower = options.weights
    else:
        folder = _folder(options)
        model, weights_id, tower = str(folder), saved_model_id(folder), None
    text = clip_text.load(
        "clip-vit-l14-336",
        weights=tower,
        device=options.device,
        download=options.download,
    )
    try:
        return OpenSeg(model, weights_id, text, options.device)
    except InputError:
        text.close()
        raise


def _folder(options: LoadOptions) -> pathlib.Path:
    """Return the folder of the SavedModel."""
    graph = find_file("openseg", _GRAPH, options.weights, download=options.download)
    if graph.name != _GRAPH:
        raise InputError(
            f"openseg: the folder of a SavedModel, or its {_GRAPH}, is required, got "
            f"another file ({graph}). Correct --weights=openseg=."
        )
    if options.weights is None:
        for part in cards()["openseg"].files:
            find_file("openseg", part.name, download=options.download)
    return graph.parent


def saved_model_id(folder: pathlib.Path) -> str:
    """Return `sha256:<hex>` of the names and bytes of a SavedModel's files."""
    digest = hashlib.sha256()
    parts = sorted(folder.glob("variables/*")) + sorted(folder.glob("assets/*"))
    for path in (folder / _GRAPH, *parts):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _start(model: str, device: str) -> Worker:
    chosen = os.environ.get(PYTHON) if seed_of(model) is None else None
    command = [chosen or sys.executable, str(worker.__file__), model]
    environment = _environment(os.environ, device, foreign=chosen is not None)
    return Worker("openseg", command, environment, start_seconds=START_SECONDS)


def _environment(
    own: Mapping[str, str], device: str, *, foreign: bool
) -> dict[str, str]:
    """Return the worker's variables: one GPU or none, and paths of its own."""
    out = {"TF_CPP_MIN_LOG_LEVEL": "2", **own}
    if foreign:
        for name in ("PYTHONPATH", "PYTHONHOME"):  # of this interpreter
            out.pop(name, None)
    index = int(device.partition(":")[2] or 0)
    visible = own.get("CUDA_VISIBLE_DEVICES", "").split(",")
    # Number n of ours is the n-th that we see.
    number = visible[index] if index < len(visible) and visible[index] else str(index)
    out["CUDA_VISIBLE_DEVICES"] = "-1" if device == "cpu" else number
    return out


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
