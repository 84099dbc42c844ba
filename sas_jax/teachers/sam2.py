"""SAM 2 for whoever prompts it, with points or with boxes: images in, masks out."""

import dataclasses
import pathlib

import numpy as np
import torch
import transformers
from jaxtyping import Bool, Float
from torch.nn import functional

from sas_jax.errors import WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image
from sas_jax.teachers.folders import Loaded, load_network
from sas_jax.teachers.pixels import IMAGENET, squeezed

NAME = "sam2"
_BOXES_AT_ONCE = 16  # 13 MB of fine features for each


def seen_by_sam2(image: Image, edge: int) -> Float[torch.Tensor, "1 3 S S"]:
    """Return an image as SAM 2 takes it: a square, whatever its sides were."""
    return squeezed(image, edge, IMAGENET)


def in_square(
    xy: Float[torch.Tensor, "*n 2"], size_hw: tuple[int, int], edge: int
) -> Float[torch.Tensor, "*n 2"]:
    """Return places of an image in its square: x and y scale each by its own side."""
    height, width = size_hw
    return xy * torch.tensor([edge / width, edge / height])


@torch.no_grad()
def in_boxes(
    network: transformers.Sam2Model, image: Image, boxes: Float[torch.Tensor, "n 4"]
) -> list[Bool[np.ndarray, "H W"]]:
    """Return the mask of what each box of an image holds.

    Args:
      network: in evaluation mode.
      image: uint8 RGB.
      boxes: (left, top, right, bottom) in pixels.
    """
    if not len(boxes):
        return []
    edge = int(network.config.prompt_encoder_config.image_size)
    embedded = network.get_image_embeddings(
        seen_by_sam2(image, edge).to(network.device)
    )
    corners = in_square(boxes.view(-1, 2, 2), image.shape[:2], edge).view(1, -1, 4)
    masks: list[np.ndarray] = []
    for some in corners.to(network.device).split(_BOXES_AT_ONCE, 1):
        out = network(
            image_embeddings=embedded, input_boxes=some, multimask_output=False
        )
        masks += list(outlined(out.pred_masks[0], image.shape[:2]))
    return masks


def outlined(
    logits: Float[torch.Tensor, "n 1 h w"], size_hw: tuple[int, int]
) -> Bool[np.ndarray, "n H W"]:
    """Return masks of an image's size of the decoder's small ones."""
    large = functional.interpolate(logits.float().cpu(), size_hw, mode="bilinear")
    return (large[:, 0] > 0).numpy()


def settings() -> transformers.Sam2Config:
    """Return the configuration of SAM 2's Hiera-L; 0.9 GB of weights."""
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=144,
        num_attention_heads=2,
        blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=[144, 288, 576, 1152],
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
        global_attention_blocks=[23, 33, 43],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[1152, 576, 288, 144]
    )
    return transformers.Sam2Config(vision_config=vision)


def load_beside(
    folder: pathlib.Path | None, options: LoadOptions, *, what: str
) -> Loaded:
    """Return SAM 2 for a model that goes with it.

    Args:
      folder: of that model, which may hold SAM 2's as `sam2`; else it lies where its
        own card says. None for random weights.
      options: of that model's loader.
      what: that model's name.

    Raises:
      WeightsMissing: where it is nowhere.
      InputError: for files that do not fill the network.
    """
    if folder is not None:
        beside = folder / NAME
        where = str(beside) if beside.is_dir() else None
        options = dataclasses.replace(options, weights=where)
    try:
        return load_network(NAME, transformers.Sam2Model, settings, options)
    except WeightsMissing as error:
        raise WeightsMissing(
            f"{what}: SAM 2 is required too, got none in {folder}/{NAME}, "
            f"$SAS_JAX_WEIGHTS/{NAME} and the caches. Put the folder of "
            "facebook/sam2.1-hiera-large there, or give --download."
        ) from error
