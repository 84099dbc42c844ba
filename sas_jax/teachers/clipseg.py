"""The heat teacher CLIPSeg: a map for every name, from three layers of CLIP's tower.

P prompts; S side of the square that an image is squeezed to, and of the maps.

Source: Lüddecke and Ecker, Image Segmentation Using Text and Image Prompts, CVPR 2022
  (arXiv 2112.10003).
"""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
import transformers
from jaxtyping import Float, Float16

from sas_jax.registry import LoadOptions
from sas_jax.teachers import clip_text, towers
from sas_jax.teachers.adapter import Adapter
from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.contracts import Image, TeacherSpec, check_image
from sas_jax.teachers.patch_config import ClipSegConfig
from sas_jax.teachers.patches import IMAGENET_MEAN, IMAGENET_STD, normalised
from sas_jax.teachers.pretrained import load_pretrained
from sas_jax.teachers.weights_id import settings_of, weights_id
from sas_jax.text import clip_tokens
from sas_jax.weights.find import find_folder, seed_of

TOWER = "clip-vit-b16"
"""Text space of the CLIP that it is made of, and stays as it was."""


class ClipSeg(Adapter):
    """A `HeatTeacher` (see contracts.py) of any names.

    Names become maps inside of the network; `encode_text` is the tower's that labels
    are aligned to.
    """

    def __init__(
        self,
        network: transformers.CLIPSegForImageSegmentation,
        shared: towers.TorchTower,
        identity: str,
        config: ClipSegConfig | None = None,
    ):
        """Take a network in evaluation mode, the labels' tower, an id and settings."""
        self.config = config or ClipSegConfig()
        super().__init__(network, shared)
        self._rows: dict[str, torch.Tensor] = {}
        self.spec = TeacherSpec(
            name="clipseg",
            contract="heat",
            text_space=shared.space,
            feat_dim=shared.space.dim,
            weights_id=identity,
            preprocess={
                "side": self.config.side,
                "prompt": self.config.prompt,
                "resize": "PIL bilinear, to a square",
                "mean": IMAGENET_MEAN,
                "std": IMAGENET_STD,
                "network": settings_of(network.config.to_dict()),
            },
        )

    @torch.no_grad()
    def heat(
        self, images: Sequence[Image], prompts: Sequence[str]
    ) -> list[Float16[np.ndarray, "P S S"]]:
        """Return the logits of every name on the squeezed image.

        Args:
          images: uint8 RGB of any sizes.
          prompts: names, which are put into `config.prompt`.

        Raises:
          ContractError: when an image breaks the contract.

        Deterministic: on one device with one number of threads, and whatever the
          company of an image and of a name.
        """
        for image in images:
            check_image(image, "clipseg")
        return [self._heat(image, prompts) for image in images]

    def _heat(
        self, image: Image, prompts: Sequence[str]
    ) -> Float16[np.ndarray, "P S S"]:
        network, side = self._network, self.config.side
        pixels = normalised(
            *(image, (side, side), IMAGENET_MEAN, IMAGENET_STD),
            PIL.Image.Resampling.BILINEAR,
        )
        states = network.clip.vision_model(
            pixels.to(network.device), output_hidden_states=True
        ).hidden_states
        taps = [states[i + 1] for i in network.extract_layers]
        # Image once, names one by one: a name costs a fiftieth of the image, and its
        # map must not follow from the other names.
        maps = np.empty((len(prompts), *pixels.shape[2:]), np.float16)
        for found, name in zip(maps, prompts, strict=True):
            logits = network.decoder(taps, self._encoded(name)).logits
            found[:] = logits[0].half().cpu().numpy()
        return maps

    def _encoded(self, name: str) -> Float[torch.Tensor, "1 C"]:
        """Return what CLIP's own text tower says of a name; not of unit length."""
        if name not in self._rows:
            ids = clip_tokens.tokenize([self.config.prompt.format(name)])
            rows = torch.from_numpy(ids[:, : int(ids.argmax()) + 1])
            found = self._network.clip.get_text_features(rows.to(self._network.device))
            self._rows[name] = found.pooler_output
        return self._rows[name].to(self._network.device)


def load(options: LoadOptions) -> ClipSeg:
    """Load the teacher for the registry.

    Args:
      options: `random:<seed>` builds the published size without training.

    Raises:
      WeightsMissing: when there is no folder, or no tower of the labels' space.
      InputError: for a folder that is incomplete or of another network.
    """
    space = options.label_space or TOWER
    if (seed := seed_of(options.weights)) is not None:
        published = transformers.CLIPSegConfig(
            vision_config={"patch_size": 16}, use_complex_transposed_convolution=True
        )
        kind = transformers.CLIPSegForImageSegmentation
        network, identity = built(lambda: kind(published), seed), f"random:{seed}"
        shared = towers.load(space, weights=identity)
    else:
        folder = find_folder("clipseg", options.weights, download=options.download)
        kind = transformers.CLIPSegForImageSegmentation
        network = load_pretrained(kind, folder, what="clipseg")
        identity = weights_id(clipseg=network)
        shared = (
            clip_text.from_state(TOWER, network.clip.state_dict(), folder)
            if space == TOWER
            else towers.load(space, download=options.download)
        )
    network.requires_grad_(False)
    return ClipSeg(network, shared, identity, options.settings).to(options.device)
