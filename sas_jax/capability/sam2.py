"""The point prompter SAM 2, for photographs; it needs the points only."""

import numpy as np
import torch
import transformers
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.capability.prompted import Prompted
from sas_jax.registry import LoadOptions
from sas_jax.teachers.folders import load_network
from sas_jax.teachers.sam2 import NAME, in_square, outlined, seen_by_sam2, settings


class Sam2Prompter(Prompted):
    """Outline with SAM 2 or 2.1 through transformers."""

    def __init__(
        self,
        model: transformers.Sam2Model,
        device: str = "cpu",
        weights: str | None = None,
    ) -> None:
        """Take a network; see `Prompted`."""
        super().__init__(model, device, weights)
        self._edge = int(model.config.prompt_encoder_config.image_size)
        self.spec = {"model": NAME, **self.identity}

    @torch.no_grad()
    def mask(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        points: Int[np.ndarray, "n 2"],
        hint: Float[np.ndarray, "H W"] | None = None,
    ) -> Bool[np.ndarray, "H W"]:
        """See `PointPrompter`; the hint is not used."""
        pixels, spots = network_input(image, points, self._edge)
        output = self.model(
            image_embeddings=self.embedded(image, pixels),
            input_points=spots.to(self.device),
            input_labels=torch.ones(spots.shape[:-1], dtype=torch.int32).to(
                self.device
            ),
            multimask_output=False,
        )
        return outlined(output.pred_masks[0], image.shape[:2])[0]


def network_input(
    image: UInt8[np.ndarray, "H W 3"], points: Int[np.ndarray, "n 2"], edge: int
) -> tuple[Float[torch.Tensor, "1 3 S S"], Float[torch.Tensor, "1 1 n 2"]]:
    """Return pixels and points as SAM 2 takes them.

    Args:
      image: RGB.
      points: (row, column).
      edge: S.

    Returns:
      float32, normalised; points as (x, y) in the square.
    """
    xy = torch.from_numpy(points[:, ::-1].astype(np.float32))
    return seen_by_sam2(image, edge), in_square(xy, image.shape[:2], edge)[None, None]


def load(options: LoadOptions) -> Sam2Prompter:
    """Load the prompter for the registry; raises as `sam.load`."""
    found = load_network(NAME, transformers.Sam2Model, settings, options)
    return Sam2Prompter(found.network, options.device, found.weights)
