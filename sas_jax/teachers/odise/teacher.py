"""ODISE as a mask teacher: photographs to labelled masks, any size, any names."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float

from sas_jax.registry import LoadOptions
from sas_jax.teachers import clip_text, towers
from sas_jax.teachers.checkpoint import built, fill, read_state
from sas_jax.teachers.clip_text import TorchClipText
from sas_jax.teachers.contracts import Image, Segments, TeacherSpec, check_image
from sas_jax.teachers.odise import frozen
from sas_jax.teachers.odise.backbone import SIZE_MULTIPLE
from sas_jax.teachers.odise.classify import CLIP_SCALE, class_logits, ensemble
from sas_jax.teachers.odise.config import OdiseConfig, OdiseSettings
from sas_jax.teachers.odise.convert import convert
from sas_jax.teachers.odise.diffusion import NOISE_SEED, STEP
from sas_jax.teachers.odise.network import Odise, Trained
from sas_jax.teachers.seem.panoptic import (
    panoptic,
    segments_of,
    semantic,
)
from sas_jax.teachers.seem.vocabulary import (
    Vocabulary,
    default_vocabulary,
    vocabulary_of,
)
from sas_jax.teachers.towers import TorchTower
from sas_jax.teachers.weights_id import weights_id
from sas_jax.weights.find import find_file, seed_of

FILE = "odise_label_coco_50e-b67d2efc.pth"
TEXT_SPACE, CLASS_SPACE = "clip-vit-b32", "clip-vit-l14-336"
SENTENCE = "a photo of a {}."

_NUM_COCO = 133


class OdiseTeacher:
    """A `MaskTeacher` (see contracts.py) of any names.

    Masks are compared with names in the space of CLIP ViT-L/14 at 336 pixels; labels
    leave it as words, and `encode_text` is the shared tower's.
    """

    def __init__(
        self,
        network: Odise,
        classes: TorchClipText,
        shared: TorchTower,
        network_id: str,
        settings: OdiseSettings | None = None,
    ):
        """Take a network in evaluation mode.

        Args:
          network: filled.
          classes: text tower that masks are compared with.
          shared: text tower of the space that labels are aligned to.
          network_id: of all weights.
          settings: of images and masks.
        """
        self._network, self._classes, self._shared = network, classes, shared
        self.settings = settings or OdiseSettings()
        self.spec = TeacherSpec(
            name="odise",
            contract="mask",
            text_space=shared.space,
            feat_dim=shared.space.dim,
            weights_id=network_id,
            preprocess={
                "settings": dataclasses.asdict(self.settings),
                "network": dataclasses.asdict(network.config),
                "resize": "PIL bilinear",
                "pad": f"zeros to multiples of {SIZE_MULTIPLE}",
                "noise": [NOISE_SEED, STEP],
                "sentence": SENTENCE,
                "classes": classes.space.id,
                "back": "nearest",
            },
        )

    @torch.no_grad()
    def segment(
        self, images: Sequence[Image], vocabulary: Sequence[str] | None = None
    ) -> list[Segments]:
        """Return the masks of every image, at the image's own size.

        Args:
          images: uint8 RGB of any sizes.
          vocabulary: class names; None asks for COCO's panoptic ones and those that
            SAS adds for rooms.

        Returns:
          Masks with labels and scores (probability of the label), the semantic argmax
          as `label_map`. Both are found at the size that the network sees, and
          resampled.

        Raises:
          ContractError: when an image breaks the contract.
          InputError: for a vocabulary without names, or with one twice.
        """
        asked = (
            default_vocabulary() if vocabulary is None else vocabulary_of(vocabulary)
        )
        for image in images:
            check_image(image, "odise")
        names = asked.names[:-1]  # the last stands for all else
        sentences = [SENTENCE.format(name) for name in names]
        texts = torch.from_numpy(self._classes.encode(sentences))
        return [self._segment_one(image, asked, texts) for image in images]

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors in the shared text space that labels are aligned to."""
        return self._shared.encode(texts)

    def to(self, device: str) -> "OdiseTeacher":
        """Move the weights to a device."""
        for part in (self._network, self._classes, self._shared):
            part.to(device)
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        del self._network
        self._classes.close()
        self._shared.close()

    def _segment_one(
        self, image: Image, asked: Vocabulary, texts: Float[torch.Tensor, "K P"]
    ) -> Segments:
        pixels = to_input(image, self.settings).to(self._network.empty.device)
        logits, masks = self._classified(pixels, asked, texts.to(pixels.device))
        void = len(asked.names) - 1
        found = panoptic(
            logits,
            masks,
            things={i for i, name in enumerate(asked.names) if name in asked.things},
            void=void,
            min_score=0.0,
            min_overlap=self.settings.min_overlap,
        )
        labels = semantic(logits, masks).argmax(0).to(torch.int32).cpu().numpy()
        return segments_of(found, labels, asked.names, image.shape[:2])

    def _classified(
        self,
        pixels: Float[torch.Tensor, "3 h w"],
        asked: Vocabulary,
        texts: Float[torch.Tensor, "K P"],
    ) -> tuple[Float[torch.Tensor, "Q K+1"], Float[torch.Tensor, "Q h w"]]:
        """Return log-probabilities of names and the void, and masks' probabilities."""
        said, masks, clip = self._network(pixels)
        masks, clip = masks.float(), clip.float()
        trained = self._network.trained
        own = class_logits(
            said.embeddings[0].float(),
            torch.cat([texts, trained.null_embed]),
            trained.generator.logit_scale.exp().clamp(max=100),
        )
        shares = self.settings.clip_seen, self.settings.clip_unseen
        trained_on = default_vocabulary().names[:_NUM_COCO]
        share = [shares[name not in trained_on] for name in asked.names[:-1]]
        logits = ensemble(
            own,
            class_logits(clip, texts, CLIP_SCALE),
            torch.tensor(share, device=own.device),
        )
        return logits, masks.sigmoid_()


def load(options: LoadOptions) -> OdiseTeacher:
    """Load the teacher for the registry, with its text towers.

    Raises:
      WeightsMissing: when ODISE, Stable Diffusion or CLIP is not on this machine.
      InputError: for a file that is not of this network.
    """
    config, seed = OdiseConfig(), seed_of(options.weights)
    if seed is None:
        path = find_file("odise", FILE, options.weights, download=options.download)
        network = _assembled(config, lambda: frozen.load(options, config.window))
        state = convert(read_state(path))
        fill(network.trained, state, what="odise", path=path)
        network_id, text_weights = weights_id(odise=network), None
    else:
        network = built(
            lambda: _assembled(config, lambda: frozen.untrained(config.window)), seed
        )
        network_id = text_weights = f"random:{seed}"
    classes = clip_text.load(
        CLASS_SPACE, weights=text_weights, download=options.download
    )
    shared = towers.load(
        options.label_space or TEXT_SPACE,
        weights=text_weights,
        download=options.download,
    )
    made = OdiseTeacher(network, classes, shared, network_id, options.settings)
    return made.to(options.device)


def _assembled(config: OdiseConfig, parts: Callable) -> Odise:
    diffusion, clip, empty = parts()
    trained = Trained(config, diffusion, empty.shape[1])
    return Odise(config, diffusion, clip, trained, empty).eval().requires_grad_(False)


def to_input(image: Image, settings: OdiseSettings) -> Float[torch.Tensor, "3 h w"]:
    """Return what the network sees of an image, in 0..1."""
    height, width = image.shape[:2]
    scale = min(
        settings.short_side / min(height, width),
        settings.long_side / max(height, width),
    )
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    resized = PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized, np.float32) / 255).permute(2, 0, 1)
