"""The small diffusion model of the embedded rooms: sampling, saving, loading.

Text is dropped at random while training, which gives classifier-free guidance here:
the prediction with text is extrapolated away from the one without.
B images.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from jaxtyping import Float, UInt8

from sas_jax.artefacts import files
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.rooms.painter.diffusion_net import (
    SmallDiffusionConfig,
    build_scheduler,
    build_unet,
    fold,
    unfold,
    with_context,
)
from sas_jax.rooms.painter.token_states import TokenStates, load_token_states
from sas_jax.stages import command

SCHEMA = "sas_jax.small_diffusion/1"
SHIPPED = pathlib.Path(__file__).parent / "weights" / "rooms_diffusion.safetensors"


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
        self.scheduler.set_timesteps(sampling.steps)
        timesteps = self.scheduler.timesteps
        sample = self._denoise(self._noise(seeds), prompts, sampling, timesteps)
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
        start = self.scheduler.add_noise(clean, self._noise(seeds), timesteps[:1])
        sample = self._denoise(start, prompts, sampling, timesteps)
        return unfold(sample, self.config.patch)

    def _noise(self, seeds: Sequence[int]) -> Float[torch.Tensor, "B C h w"]:
        shape = (self.unet.config.in_channels, self.config.grid, self.config.grid)
        return torch.stack(
            [
                torch.randn(shape, generator=torch.Generator().manual_seed(int(seed)))
                for seed in seeds
            ]
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
            f"{command('pretrain_rooms')} --model=diffusion"
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
    values: dict[str, Any] = {}
    for name, text in meta.items():
        field = name.removeprefix("config.")
        if name.startswith("config.") and field in known:
            numbers = tuple(int(part) for part in text.split())
            values[field] = numbers if field == "channels" else numbers[0]
    return SmallDiffusionConfig(**values)
