"""What SAM and its successor share: an image is encoded once, and prompted often."""

import numpy as np
import torch
import transformers
from jaxtyping import Float, UInt8

from sas_jax.teachers.weights_id import settings_of, weights_id


class Prompted:
    """A network of an image encoder and a decoder of points.

    Attributes:
      model: of transformers, with `get_image_embeddings`.
      device: `cpu` or `cuda:<n>`.
      identity: of its weights and settings, for `spec`.
    """

    one_thread = False

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        device: str = "cpu",
        weights: str | None = None,
    ) -> None:
        """Take a network.

        Args:
          model: with weights; it is moved to the device.
          device: `cpu` or `cuda:<n>`.
          weights: what stands for its weights in keys; None hashes them.
        """
        self.identity = {
            "weights": weights or weights_id(network=model),
            "network": settings_of(model.config.to_dict()),
        }
        self.model, self.device = model.eval().to(device), device
        self._last: tuple[np.ndarray, object] | None = None

    def embedded(
        self, image: UInt8[np.ndarray, "H W 3"], pixels: Float[torch.Tensor, "1 3 h w"]
    ):
        """Return the network's embedding of an image, from memory for the last one.

        Args:
          image: as it was given, by which it is known again.
          pixels: the same, as the network takes it.
        """
        if self._last is None or not np.array_equal(self._last[0], image):
            encoded = self.model.get_image_embeddings(pixels.to(self.device))
            self._last = image.copy(), encoded
        return self._last[1]
