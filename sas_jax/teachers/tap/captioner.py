"""The captioner that SAS uses: TAP, asked for one point of every mask.

Source: SAS (arXiv 2503.08512) section 3.1; authors' code seem_feat/TAP/infer.py.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image as PilImage

from sas_jax.artefacts.files import content_key
from sas_jax.registry import LoadOptions
from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.contracts import Image, Segments, check_masks
from sas_jax.teachers.tap.convert import read_network
from sas_jax.teachers.tap.image_decoder import PAD, POINT
from sas_jax.teachers.tap.network import PIXEL_MEAN, Tap, best_of_points
from sas_jax.teachers.tap.tokenizer import (
    SentencePieces,
    StandIn,
    Tokenizer,
    sentence,
)
from sas_jax.teachers.weights_id import weights_id
from sas_jax.weights.find import find_file, seed_of

NAME, _NETWORK, _VOCABULARY = "tap", "tap_vit_h_v1_1.pkl", "text_tokenizer.model"

# The decoder holds the image's features once for every prompt: 4 MB each.
_PROMPTS_AT_ONCE = 32
_PREPROCESS = {
    "channels": "BGR",
    "resize": "longer side to the network's, Pillow bilinear, rounded half up",
    "pad": "right and below, the pixel mean cut to integers",
    "point": "first maximum of cv2.distanceTransform(DIST_L2, 5), and a pad point",
    "candidate": "the best by predicted IoU but the first",
    "decoding": "greedy",
}


class TapCaptioner:
    """Describe masks by the sentence that TAP says of the point deepest inside.

    The authors' code is followed but for two mistakes of it, which make captions of
    other things than the masks: its points are in pixels of a larger image (683 x 512)
    than the one that is shown (320 x 240), and its list of captions is looked up one
    place too far. It computes in half precision, this in single.
    """

    def __init__(self, network: Tap, tokenizer: Tokenizer, weights: str):
        """Take a network that is ready to evaluate.

        Args:
          network: its sizes are its own.
          tokenizer: of its language model.
          weights: names its weights, in keys (see `weights_id`).
        """
        self._network = network.eval()
        self._tokenizer = tokenizer
        settings = {
            "weights": weights,
            "vocabulary": tokenizer.id,
            "sizes": network.sizes,
            "preprocess": _PREPROCESS,
        }
        self.id = f"{NAME}/{content_key(settings)}"

    @torch.inference_mode()
    def caption(self, image: Image, segments: Segments) -> list[str]:
        """Return one sentence per mask.

        Args:
          image: uint8 RGB [H, W, 3], the size of `segments.ids`.
          segments: the masks; their labels are not looked at.

        Returns:
          N sentences; sentence i describes mask id i + 1. Nothing is said of a mask
          without a pixel.

        Raises:
          ContractError: for an image or masks that break the contract.
        """
        check_masks(image, segments, NAME)
        said = [""] * len(segments.labels)
        masks = {i: segments.ids == i + 1 for i in range(len(said))}
        points = {i: deepest_point(mask) for i, mask in masks.items() if mask.any()}
        if not points:
            return said
        canvas, scale = prepared(image, self._network.sizes.image_size)
        xy = np.array(list(points.values()), np.float32) * np.float32(scale)
        for i, ids in zip(points, self._token_ids(canvas, xy), strict=True):
            said[i] = sentence(ids, self._tokenizer)
        return said

    def _token_ids(
        self, canvas: UInt8[np.ndarray, "S S 3"], xy: Float[np.ndarray, "N 2"]
    ) -> Iterator[list[int]]:
        """Yield the ids of the sentence of every point of a prepared image."""
        network, device = self._network, self._network.pixel_mean.device
        features = network.features(torch.from_numpy(canvas)[None].to(device))
        for some in torch.from_numpy(xy).to(device).split(_PROMPTS_AT_ONCE):
            places = torch.stack([some, torch.zeros_like(some)], 1)
            labels = torch.tensor([[POINT, PAD]], device=device).expand(len(some), -1)
            regions = network.regions(features, places, labels)
            best = best_of_points(regions.iou)
            tokens = regions.tokens[torch.arange(len(some), device=device), best]
            yield from network.text_decoder.greedy(
                tokens,
                bos=self._tokenizer.bos,
                eos=self._tokenizer.eos,
                pad=network.sizes.vocab - 1,
            ).tolist()

    def to(self, device: str) -> "TapCaptioner":
        """Move the weights and return the captioner."""
        self._network.to(device)
        return self

    def close(self) -> None:
        """Free the weights."""
        self._network.to("meta")


def load(options: LoadOptions) -> TapCaptioner:
    """Return the captioner for the registry.

    `random:<seed>` is TAP ViT-H at its real size with random weights; it says numbers
    of tokens, whatever vocabulary is on the machine.

    Raises:
      InputError: for files that are missing, damaged, or of another model.
    """
    seed = seed_of(options.weights)
    if seed is not None:
        captioner = TapCaptioner(built(Tap, seed), StandIn(), f"random:{seed}")
        return captioner.to(options.device)
    published, vocabulary = (
        find_file(NAME, name, options.weights, download=options.download)
        for name in (_NETWORK, _VOCABULARY)
    )
    network = read_network(published)
    tokenizer = SentencePieces(vocabulary, network.sizes.vocab)
    return TapCaptioner(network, tokenizer, weights_id(tap=network)).to(options.device)


def deepest_point(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
    """Return x, y of the pixel of a mask that is farthest from what is not the mask.

    By OpenCV's approximate distances, whose first maximum, row by row, is the authors'.
    """
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(x), int(y)


def prepared(image: Image, size: int) -> tuple[UInt8[np.ndarray, "S S 3"], float]:
    """Return an RGB image as the network takes it, and by how much it was scaled.

    Args:
      image: uint8 RGB [H, W, 3].
      size: S, to which the longer side is scaled.

    Returns:
      uint8 BGR, padded right and below; pixels of the result per pixel of the image.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    scaled_wh = int(width * scale + 0.5), int(height * scale + 0.5)
    scaled_wh = max(scaled_wh[0], 1), max(scaled_wh[1], 1)
    bgr = PilImage.fromarray(np.ascontiguousarray(image[..., ::-1]))
    scaled = np.asarray(bgr.resize(scaled_wh, PilImage.Resampling.BILINEAR))
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = np.array(PIXEL_MEAN).astype(np.uint8)
    canvas[: scaled.shape[0], : scaled.shape[1]] = scaled
    return canvas, scale
