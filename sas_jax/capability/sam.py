"""The point prompter SAM, for photographs; it needs the points only."""

import functools

import numpy as np
import torch
import transformers
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers.weights_id import settings_of, weights_id

SAM = "facebook/sam-vit-huge"


class SamPrompter:
    """Outline with SAM through transformers; the weights are read when first needed.

    The authors' code gives SAM images in BGR order although it expects RGB; here they
    are RGB.
    """

    one_thread = False

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
        inputs = processor(
            image,
            input_points=spots,
            input_labels=[[[1] * len(points)]],
            return_tensors="pt",
        ).to(self._device)
        output = model(**inputs, multimask_output=False)
        masks = processor.image_processor.post_process_masks(
            output.pred_masks.cpu(),
            inputs["original_sizes"].cpu(),
            inputs["reshaped_input_sizes"].cpu(),
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


def load(options: LoadOptions) -> SamPrompter:
    """Return the prompter for the registry."""
    return SamPrompter(options.weights or SAM, options.device)
