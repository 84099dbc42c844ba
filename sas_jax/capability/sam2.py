"""The point prompter SAM 2, for photographs; it needs the points only.

The library's own processor of images asks for torchvision, whose wheels must fit
PyTorch's release; what it does is a page of code, written out here.
"""

import numpy as np
import torch
import transformers
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.capability.prompted import Prompted
from sas_jax.registry import LoadOptions
from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.pretrained import load_pretrained
from sas_jax.weights.find import find_folder, seed_of

NAME = "sam2"

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


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
        logits = output.pred_masks[0].float().cpu()
        size = image.shape[:2]
        return (_bilinear(logits, size)[0, 0] > 0).numpy()


def network_input(
    image: UInt8[np.ndarray, "H W 3"], points: Int[np.ndarray, "n 2"], edge: int
) -> tuple[Float[torch.Tensor, "1 3 S S"], Float[torch.Tensor, "1 1 n 2"]]:
    """Return pixels and points as SAM 2 takes them.

    The image is squeezed into a square, bilinearly and without aliases, in steps of
    1/255; x and y of a point scale each by its own side.

    Args:
      image: RGB.
      points: (row, column).
      edge: S.

    Returns:
      float32, normalised; points as (x, y) in the square.
    """
    flat = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    small = _bilinear(flat, (edge, edge), antialias=True).round().clamp(0, 255)
    mean, std = (255 * torch.tensor(v).view(3, 1, 1) for v in (_MEAN, _STD))
    height, width = image.shape[:2]
    scale = torch.tensor([edge / width, edge / height])
    spots = torch.from_numpy(points[:, ::-1].astype(np.float32)) * scale
    return (small - mean) / std, spots[None, None]


def _bilinear(
    images: Float[torch.Tensor, "n c h w"], size: tuple[int, int], **how: bool
) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        images, size, mode="bilinear", align_corners=False, **how
    )


def random_sam2(seed: int) -> transformers.Sam2Model:
    """Build SAM 2's Hiera-L with weights that follow from a seed; 0.9 GB."""
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
    config = transformers.Sam2Config(vision_config=vision)
    return built(lambda: transformers.Sam2Model(config), seed)


def load(options: LoadOptions) -> Sam2Prompter:
    """Load the prompter for the registry; raises as `sam.load`."""
    seed = seed_of(options.weights)
    if seed is not None:
        return Sam2Prompter(random_sam2(seed), options.device, options.weights)
    folder = find_folder(NAME, options.weights, download=options.download)
    model = load_pretrained(transformers.Sam2Model, folder, what=NAME)
    return Sam2Prompter(model, options.device)
