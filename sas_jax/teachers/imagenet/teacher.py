"""The teacher `imagenet`: a network of photographs, its words a vector per pixel.

It needs no download: its weights lie in a package of the Python index. A pixel's vector
is the sum of its classes' vectors, each as long as what speaks for that class there,
and of a short one that fits anything. So where nothing is sure the vector says "an
object"; the mean over frames is the mean of the evidence; and beside other teachers it
counts as much as it is sure.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float16

from sas_jax.artefacts.files import sha256_file
from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers.checkpoint import built, fill, read_state
from sas_jax.teachers.contracts import Image, TeacherSpec, check_image
from sas_jax.teachers.imagenet import words
from sas_jax.teachers.imagenet.evidence import ViewConfig, evidence_of
from sas_jax.teachers.imagenet.network import EfficientNetLite, renamed
from sas_jax.teachers.text import load_torch_minilm
from sas_jax.teachers.weights_id import weights_id
from sas_jax.text import minilm_files
from sas_jax.weights.cards import cards
from sas_jax.weights.find import find_file, seed_of


@dataclasses.dataclass(frozen=True)
class ImageNetConfig:
    """Set how views become vectors.

    Attributes:
      views: that are classified.
      least: evidence of a class in a view that counts; less is noise of 1000 classes.
      doubt: length of the vector that fits anything: classes with less evidence than
        this do not outweigh it.
    """

    views: ViewConfig = dataclasses.field(default_factory=ViewConfig)
    least: float = 0.02
    doubt: float = 0.05


class ImageNet:
    """A `DenseTeacher` (see contracts.py) with the 1000 classes of ImageNet."""

    def __init__(
        self,
        network: EfficientNetLite,
        identity: str,
        config: ImageNetConfig | None = None,
    ):
        """Take a network in evaluation mode, the id of its weights and settings."""
        self.config = config or ImageNetConfig()
        # A quarter faster on a CPU, and the same bits.
        self._network = network.to(  # type: ignore[call-overload]  # unknown to the stub
            memory_format=torch.channels_last
        )
        self._text = load_torch_minilm()
        self._rows: dict[int, np.ndarray] = {}
        self._anything = words.anything(self._text)
        self.spec = TeacherSpec(
            name="imagenet",
            contract="dense",
            text_space=minilm_files.SPACE,
            feat_dim=minilm_files.DIM,
            weights_id=identity,
            preprocess={
                **dataclasses.asdict(self.config),
                "pixels": "(value - 127) / 128",
                "resize": "area when shrinking, cubic when enlarging",
                "label": words.TEMPLATE,
                "anything": words.ANYTHING,
            },
        )

    def features(self, images: Sequence[Image]) -> list[Float16[np.ndarray, "h w 384"]]:
        """Return vectors whose length tells how sure they are.

        Args:
          images: uint8 RGB of any sizes.

        Returns:
          Per image float16 [h, w, 384], 48 cells along the shorter side; row i, column
          j covers the image's share [i/h, (i+1)/h] x [j/w, (j+1)/w].

        Raises:
          ContractError: when an image breaks the contract.

        Deterministic: on one device with one number of threads, and whatever the
          company that an image is in.
        """
        for image in images:
            check_image(image, "imagenet")
        return [self._features(image) for image in images]

    def _features(self, image: Image) -> Float16[np.ndarray, "h w 384"]:
        classes, values = self.evidence(image)
        return self.said(classes, values).astype(np.float16)

    def evidence(self, image: Image) -> tuple[list[int], Float[np.ndarray, "n h w"]]:
        """Return the classes that anything speaks for, and how much at each place.

        See `evidence.evidence_of`.
        """
        config = self.config
        found = evidence_of(self._network, image, config.views, config.least)
        return found.classes.tolist(), found.values.cpu().numpy()

    def said(
        self, classes: Sequence[int], values: Float[np.ndarray, "n h w"]
    ) -> Float[np.ndarray, "h w 384"]:
        """Return evidence as vectors in the text space, f32."""
        new = [k for k in classes if k not in self._rows]
        if new:
            rows = words.class_rows(self._text, new)
            self._rows.update(zip(new, rows, strict=True))
        vectors = np.broadcast_to(
            self.config.doubt * self._anything, (*values.shape[1:], minilm_files.DIM)
        )
        if not classes:
            return vectors
        rows = np.stack([self._rows[k] for k in classes])
        return vectors + np.tensordot(values, rows, axes=(0, 0))

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n 384"]:
        """Return unit vectors of texts in the same space."""
        return self._text.encode(texts)

    def to(self, device: str) -> "ImageNet":
        """Move the weights to a device."""
        self._network.to(device)
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        del self._network


def load(options: LoadOptions) -> ImageNet:
    """Load the teacher for the registry.

    Raises:
      WeightsMissing: without the package that holds the weights, saying how to
        install it.
      InputError: for a file that is damaged, of another network, or, in the package,
        another one than the published.
    """
    config = options.settings or ImageNetConfig()
    if (seed := seed_of(options.weights)) is not None:
        network, identity = built(EfficientNetLite, seed), f"random:{seed}"
    else:
        (part,) = cards()["imagenet"].files
        path = find_file("imagenet", part.name, options.weights)
        if options.weights is None and sha256_file(path) != part.sha256:
            raise InputError(
                f"imagenet: the published {part.name} is required, got a file with "
                f"another checksum ({path}). Install {part.package} again."
            )
        network = EfficientNetLite().eval()
        fill(network, renamed(read_state(path)), what="imagenet", path=path)
        identity = weights_id(network=network)
    return ImageNet(network, identity, config).to(options.device)
