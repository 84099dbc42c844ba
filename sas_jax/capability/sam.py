"""The point prompter SAM, for photographs; it needs the points only."""

import numpy as np
import torch
import transformers
from jaxtyping import Bool, Float, Int, UInt8
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from sas_jax.capability.prompted import Prompted
from sas_jax.registry import LoadOptions
from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.pretrained import load_pretrained, reading
from sas_jax.teachers.weights_id import settings_of
from sas_jax.weights.find import find_folder, seed_of

NAME = "sam"


class SamPrompter(Prompted):
    """Outline with SAM through transformers, by its own processor of images.

    The authors' code gives SAM images in BGR order although it expects RGB; here they
    are RGB, whatever `compat` says: plain errors are not reproduced.
    """

    def __init__(
        self,
        model: transformers.SamModel,
        processor: transformers.SamProcessor,
        device: str = "cpu",
        weights: str | None = None,
    ) -> None:
        """Take a network with its processor; see `Prompted`."""
        super().__init__(model, device, weights)
        self._processor = processor
        images = settings_of(processor.image_processor.to_dict())
        self.spec = {"model": NAME, **self.identity, "images": images}

    @torch.no_grad()
    def mask(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        points: Int[np.ndarray, "n 2"],
        hint: Float[np.ndarray, "H W"] | None = None,
    ) -> Bool[np.ndarray, "H W"]:
        """See `PointPrompter`; the hint is not used."""
        spots = [[[[int(column), int(row)] for row, column in points]]]
        inputs = self._processor(
            image,
            input_points=spots,
            input_labels=[[[1] * len(points)]],
            # Told: of an image three pixels high it would take rows for channels.
            input_data_format="channels_last",
            return_tensors="pt",
        )
        pixels = inputs.pop("pixel_values")
        output = self.model(
            image_embeddings=self.embedded(image, pixels),
            input_points=inputs["input_points"].float().to(self.device),
            input_labels=inputs["input_labels"].to(self.device),
            multimask_output=False,
        )
        masks = self._processor.image_processor.post_process_masks(
            output.pred_masks.cpu(),
            inputs["original_sizes"],
            inputs["reshaped_input_sizes"],
        )
        return masks[0][0, 0].numpy().astype(bool)


def random_sam(seed: int) -> transformers.SamModel:
    """Build SAM's ViT-H with weights that follow from a seed; 2.6 GB."""
    vision = transformers.SamVisionConfig(
        hidden_size=1280,
        num_hidden_layers=32,
        num_attention_heads=16,
        mlp_dim=5120,
        global_attn_indexes=[7, 15, 23, 31],
    )
    config = transformers.SamConfig(vision_config=vision.to_dict())
    return built(lambda: transformers.SamModel(config), seed)


def load(options: LoadOptions) -> SamPrompter:
    """Load the prompter for the registry.

    Raises:
      WeightsMissing: when the weights are not on this machine.
      InputError: for files that do not fill the network.
    """
    seed = seed_of(options.weights)
    if seed is not None:
        processor = transformers.SamProcessor(SamImageProcessorPil())
        return SamPrompter(random_sam(seed), processor, options.device, options.weights)
    folder = find_folder(NAME, options.weights, download=options.download)
    model = load_pretrained(transformers.SamModel, folder, what=NAME)
    with reading(folder, NAME):
        processor = transformers.SamProcessor.from_pretrained(
            folder, local_files_only=True
        )
    return SamPrompter(model, processor, options.device)
