"""What SAM and its successor share: an image is encoded once, and prompted often."""

import pathlib

import numpy as np
import torch
import transformers
from jaxtyping import Float, UInt8
from safetensors import SafetensorError

from sas_jax.errors import InputError
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


def load_network(
    kind: type[transformers.PreTrainedModel], name: str, folder: pathlib.Path
) -> transformers.PreTrainedModel:
    """Load a network from a folder as transformers writes it; nothing is unpickled.

    Raises:
      InputError: for a folder that cannot be read, or files that do not fill the
        network, which transformers would leave random.
    """
    try:
        model, report = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{name}: a complete folder is required, got one that cannot be read "
            f"({folder}: {error}). Download it again."
        ) from error
    if absent := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise InputError(
            f"{name}: the files must fill the network, got none for "
            f"{', '.join(map(str, absent[:3]))} ({folder}). Download it again."
        )
    return model
