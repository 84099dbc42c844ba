"""The small text-conditional diffusion model of the embedded world.

64x64 RGB images are folded to 12 channels on a 32x32 grid (space to depth), so that
the U-Net of diffusers works on grids 32, 16, 8 with cross-attention at 16 and 8. It
predicts v = alpha * noise - sigma * image; text is dropped at random while training,
which gives classifier-free guidance when sampling.
B images, L tokens, D token state length.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import diffusers
import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Float, UInt8

from sas_jax import files
from sas_jax.capability.token_states import TokenStates, load_token_states
from sas_jax.errors import InputError, WeightsMissing

SCHEMA = "sas_jax.small_diffusion/1"
SHIPPED = pathlib.Path(__file__).parent / "weights" / "rooms_diffusion.safetensors"


@dataclasses.dataclass(frozen=True)
class SmallDiffusionConfig:
    """Size and noise schedule of the network.

    Attributes:
      image_size: edge of the square images, pixels.
      patch: edge of the pixel blocks folded into channels.
      channels: width of the U-Net at grids 32, 16 and 8.
      heads: attention heads.
      text_dim: D.
      text_length: L.
      context: a token is told to the U-Net together with the ones before it, this many
        in all, so that the noun of "red chair" knows its colour.
      train_steps: number of noise levels while training.
    """

    image_size: int = 64
    patch: int = 2
    channels: tuple[int, ...] = (32, 64, 128)
    heads: int = 4
    text_dim: int = 384
    text_length: int = 48
    context: int = 3
    train_steps: int = 1000

    @property
    def grid(self) -> int:
        """Return the edge of the folded image."""
        return self.image_size // self.patch


def build_unet(config: SmallDiffusionConfig) -> diffusers.UNet2DConditionModel:
    """Build the U-Net with random weights (torch's global generator)."""
    depth = 3 * config.patch**2
    attending = len(config.channels) - 1
    unet = diffusers.UNet2DConditionModel(
        sample_size=config.grid,
        in_channels=depth,
        out_channels=depth,
        layers_per_block=1,
        block_out_channels=config.channels,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attending),
        up_block_types=(*["CrossAttnUpBlock2D"] * attending, "UpBlock2D"),
        cross_attention_dim=config.text_dim,
        encoder_hid_dim=config.context * config.text_dim,
        encoder_hid_dim_type="text_proj",
        attention_head_dim=config.heads,  # diffusers reads this as number of heads
        norm_num_groups=8,
    )
    # At first every token stands for itself; what its neighbours add is learnt.
    with torch.no_grad():
        mixing = unet.encoder_hid_proj
        mixing.weight.zero_()
        mixing.weight[:, : config.text_dim] = torch.eye(config.text_dim)
        mixing.bias.zero_()
    # On CPUs plain products beat the fused kernel at these sizes, mostly backwards.
    unet.set_attn_processor(AttnProcessor())
    return unet


def with_context(
    states: Float[torch.Tensor, "n L D"], context: int
) -> Float[torch.Tensor, "n L context*D"]:
    """Join every token's state with those of the tokens before it, nearest first."""
    padded = torch.nn.functional.pad(states, (0, 0, context - 1, 0))
    length = states.shape[1]
    shifted = [
        padded[:, context - 1 - back : context - 1 - back + length]
        for back in range(context)
    ]
    return torch.cat(shifted, -1)


def noise_schedule(config: SmallDiffusionConfig) -> dict:
    """Return the arguments that every scheduler of this model shares."""
    return {
        "num_train_timesteps": config.train_steps,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
    }


def build_scheduler(config: SmallDiffusionConfig) -> diffusers.DDIMScheduler:
    """Return the deterministic DDIM sampler; it ends its steps at full noise."""
    return diffusers.DDIMScheduler(
        **noise_schedule(config),
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=True,
    )


def fold(
    images: UInt8[np.ndarray, "B H W 3"], patch: int
) -> Float[torch.Tensor, "B C h w"]:
    """Turn images into the network's input in [-1, 1], blocks folded into channels."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    scaled = pixels.float() / 127.5 - 1
    return torch.nn.functional.pixel_unshuffle(scaled, patch)


def unfold(
    sample: Float[torch.Tensor, "B C h w"], patch: int
) -> UInt8[np.ndarray, "B H W 3"]:
    """Invert `fold`, clipping to [-1, 1]."""
    pixels = torch.nn.functional.pixel_shuffle(sample.float().clamp(-1, 1), patch)
    scaled = ((pixels + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).numpy()


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How images are drawn.

    Attributes:
      steps: number of denoising steps.
      guidance: classifier-free guidance scale; 1 switches it off.
    """

    steps: int = 20
    guidance: float = 4.0


class SmallDiffusion:
    """A trained small diffusion model, ready to draw images.

    Attributes:
      config: size of the network.
      unet: diffusers' U-Net, in evaluation mode.
      weights_id: `sha256:<hex>` of the file, or `random:<seed>`.
    """

    def __init__(
        self,
        config: SmallDiffusionConfig,
        unet: diffusers.UNet2DConditionModel,
        weights_id: str,
        text: TokenStates | None = None,
    ):
        """Wrap a network; `text` defaults to MiniLM's token states."""
        self.config = config
        self.unet = unet.eval().requires_grad_(False)
        self.weights_id = weights_id
        self.text = text or load_token_states()
        self.scheduler = build_scheduler(config)

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: SamplingConfig | None = None,
    ) -> UInt8[np.ndarray, "B H W 3"]:
        """Draw one image per prompt and seed, all in one batch.

        Deterministic: an image depends on its own prompt and seed; other images of
        the batch can change it by rounding only.
        """
        sampling = sampling or SamplingConfig()
        shape = (self.unet.config.in_channels, self.config.grid, self.config.grid)
        noise = [
            torch.randn(shape, generator=torch.Generator().manual_seed(int(seed)))
            for seed in seeds
        ]
        self.scheduler.set_timesteps(sampling.steps)
        sample = self._denoise(
            torch.stack(noise), prompts, sampling, self.scheduler.timesteps
        )
        return unfold(sample, self.config.patch)

    @torch.no_grad()
    def redraw(
        self,
        images: UInt8[np.ndarray, "B H W 3"],
        prompts: Sequence[str],
        seeds: Sequence[int],
        strength: float,
        sampling: SamplingConfig | None = None,
    ) -> UInt8[np.ndarray, "B H W 3"]:
        """Noise given images part of the way and denoise them again.

        Args:
          images: uint8 images of the model's size.
          prompts: what they show.
          seeds: one per image.
          strength: share of the steps that are run again, in (0, 1].
          sampling: how; None means the defaults.

        Returns:
          The redrawn images.
        """
        sampling = sampling or SamplingConfig()
        self.scheduler.set_timesteps(sampling.steps)
        count = max(1, round(strength * sampling.steps))
        timesteps = self.scheduler.timesteps[-count:]
        clean = fold(images, self.config.patch)
        noise = torch.stack(
            [
                torch.randn(
                    clean.shape[1:], generator=torch.Generator().manual_seed(int(seed))
                )
                for seed in seeds
            ]
        )
        start = self.scheduler.add_noise(clean, noise, timesteps[:1])
        return unfold(
            self._denoise(start, prompts, sampling, timesteps), self.config.patch
        )

    def _denoise(self, sample, prompts, sampling, timesteps) -> torch.Tensor:
        guided = sampling.guidance != 1
        texts = [""] * len(prompts) + list(prompts) if guided else list(prompts)
        states = self.text(texts, self.config.text_length).states
        states = with_context(states, self.config.context)
        for step in timesteps:
            batch = torch.cat([sample, sample]) if guided else sample
            predicted = self.unet(batch, step, encoder_hidden_states=states).sample
            if guided:
                free, told = predicted.chunk(2)
                predicted = free + sampling.guidance * (told - free)
            sample = self.scheduler.step(predicted, step, sample).prev_sample
        return sample


def save(path: files.PathLike, model: SmallDiffusion, meta: dict[str, str]) -> None:
    """Write the network as float16 safetensors with its configuration.

    Args:
      path: ends in `.safetensors`.
      model: the network.
      meta: how it was trained, for people.
    """
    tensors = {
        name: value.to(torch.float16).numpy()
        for name, value in model.unet.state_dict().items()
    }
    config = files.canonical(model.config)
    key = files.content_key({"config": config, "meta": meta, "weights": tensors})
    files.write_tensors(
        path, tensors, key=key, schema=SCHEMA, meta={**meta, **_as_text(config)}
    )


def load(path: files.PathLike = SHIPPED) -> SmallDiffusion:
    """Read a network that `save` wrote; without a path the shipped one.

    Raises:
      WeightsMissing: when there is no such file.
      DamagedFile: when it was cut short or changed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise WeightsMissing(
            f"small diffusion: weights must exist, got none ({path}). Train them with "
            "python experiments/pretrain_rooms.py --network=diffusion"
        )
    tensors, meta = files.read_tensors(path, schema=SCHEMA)
    config = _from_text(meta)
    unet = build_unet(config)
    state = {name: torch.from_numpy(value).float() for name, value in tensors.items()}
    try:
        unet.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise InputError(
            f"small diffusion: the weights must fit their configuration, got another "
            f"network ({path}). Train again."
        ) from error
    return SmallDiffusion(config, unet, f"sha256:{files.sha256_file(path)}")


def _as_text(config: dict) -> dict[str, str]:
    return {
        f"config.{name}": " ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
        for name, value in config.items()
    }


def _from_text(meta: dict[str, str]) -> SmallDiffusionConfig:
    known = {field.name for field in dataclasses.fields(SmallDiffusionConfig)}
    values = {}
    for name, text in meta.items():
        field = name.removeprefix("config.")
        if name.startswith("config.") and field in known:
            numbers = tuple(int(part) for part in text.split())
            values[field] = numbers if field == "channels" else numbers[0]
    return SmallDiffusionConfig(**values)
