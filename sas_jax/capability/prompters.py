"""Point prompters: GrabCut for the embedded world, SAM for photographs.

GrabCut has no notion of things; it needs the attention map as a hint and the points
as certain foreground. SAM needs the points only.
"""

import dataclasses
import functools

import cv2
import numpy as np
import torch
import transformers
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.artefacts import files
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.teachers.weights_id import settings_of, weights_id

SAM = "facebook/sam-vit-huge"


@dataclasses.dataclass(frozen=True)
class GrabCutConfig:
    """How GrabCut starts.

    Attributes:
      scale: images are enlarged by this factor first; the colour models need pixels.
      likely: hint above which a pixel starts as probable foreground.
      never: hint below which a pixel is certain background.
      radius: discs around the points that are certain foreground, share of the edge.
      rounds: iterations.
    """

    scale: int = 2
    likely: float = 0.5
    never: float = 0.05
    radius: float = 0.03
    rounds: int = 4


class GrabCutPrompter:
    """Outline by colour models and a cut along edges (OpenCV's GrabCut)."""

    def __init__(self, config: GrabCutConfig | None = None) -> None:
        """Take settings; None means the defaults."""
        self._config = config or GrabCutConfig()
        self.spec = {"model": "grabcut", "config": files.canonical(self._config)}

    def mask(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        points: Int[np.ndarray, "n 2"],
        hint: Float[np.ndarray, "H W"] | None = None,
    ) -> Bool[np.ndarray, "H W"]:
        """See `PointPrompter`; without a hint everything but the points is open."""
        config = self._config
        height, width = image.shape[:2]
        size = (width * config.scale, height * config.scale)
        labels = self._start(size, points, hint)
        if not np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
            return np.ones((height, width), bool)
        enlarged = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        cv2.setRNGSeed(0)  # the colour models start from random clusters
        cv2.grabCut(
            enlarged,
            labels,
            None,
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            config.rounds,
            cv2.GC_INIT_WITH_MASK,
        )
        inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
        small = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
        return small >= 0.5

    def _start(self, size, points, hint) -> np.ndarray:
        config = self._config
        labels = np.full(size[::-1], cv2.GC_PR_BGD, np.uint8)
        if hint is not None:
            soft = cv2.resize(hint.astype(np.float32), size)
            labels[soft < config.never] = cv2.GC_BGD
            labels[soft > config.likely] = cv2.GC_PR_FGD
        radius = max(1, round(config.radius * min(size)))
        for row, column in points:
            middle = (
                int((column + 0.5) * config.scale),
                int((row + 0.5) * config.scale),
            )
            cv2.circle(labels, middle, radius, int(cv2.GC_FGD), -1)
        return labels


class SamPrompter:
    """Outline with SAM through transformers; the weights are read when first needed.

    The authors' code gives SAM images in BGR order although it expects RGB; here they
    are RGB.
    """

    def __init__(
        self,
        source: str = SAM,
        device: str = "cpu",
        model: transformers.SamModel | None = None,
        processor: transformers.SamProcessor | None = None,
    ) -> None:
        """Name a folder or hub id, or hand over a loaded model with its processor."""
        self._source, self._device = source, device
        self._model, self._processor = model, processor

    @functools.cached_property
    def spec(self) -> dict:
        """Everything that changes the masks; reads the weights.

        Raises:
          WeightsMissing: when the weights are not on this machine.
        """
        model, processor = self._load()
        return {
            "model": "sam",
            "weights": weights_id(sam=model),
            "network": settings_of(model.config.to_dict()),
            "images": settings_of(processor.image_processor.to_dict()),
        }

    @torch.no_grad()
    def mask(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        points: Int[np.ndarray, "n 2"],
        hint: Float[np.ndarray, "H W"] | None = None,
    ) -> Bool[np.ndarray, "H W"]:
        """See `PointPrompter`; the hint is not used.

        Raises:
          WeightsMissing: when the weights are not on this machine.
        """
        model, processor = self._load()
        spots = [[[[int(column), int(row)] for row, column in points]]]
        given = processor(
            image,
            input_points=spots,
            input_labels=[[[1] * len(points)]],
            return_tensors="pt",
        ).to(self._device)
        output = model(**given, multimask_output=False)
        masks = processor.image_processor.post_process_masks(
            output.pred_masks.cpu(),
            given["original_sizes"].cpu(),
            given["reshaped_input_sizes"].cpu(),
        )
        return masks[0][0, 0].numpy().astype(bool)

    def _load(self) -> tuple[transformers.SamModel, transformers.SamProcessor]:
        if self._model is None or self._processor is None:
            try:
                model, report = transformers.SamModel.from_pretrained(
                    self._source, local_files_only=True, output_loading_info=True
                )
                self._processor = transformers.SamProcessor.from_pretrained(
                    self._source, local_files_only=True
                )
            except OSError as error:
                raise WeightsMissing(
                    f"sam: weights must be on this machine (2.6 GB, Apache-2.0), got "
                    f"none ({self._source}). Run `hf download {SAM}` or give a folder; "
                    "without them use the GrabCut prompter."
                ) from error
            # transformers would fill absent tensors with random numbers
            if report["missing_keys"]:
                raise InputError(
                    f"sam: the checkpoint must fill the network, got none for "
                    f"{sorted(report['missing_keys'])[:3]} ({self._source}). "
                    "Download it again."
                )
            self._model = model.eval().to(self._device)
        return self._model, self._processor
