"""Pipelines of Stable Diffusion from files of this machine, or random ones.

Stable Diffusion 1.x, 2.x and XL share what attention is read from: a U-Net whose
cross-attentions are called `attn2`, and CLIP's words. Stable Diffusion 3 and FLUX are
transformers that mix words and pixels in one attention, where Eq. 1 has no meaning.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from sas_jax.artefacts import files
from sas_jax.errors import InputError
from sas_jax.teachers.pretrained import load_pretrained, reading
from sas_jax.teachers.weights_id import settings_of, weights_id
from sas_jax.text import clip_tokens

if TYPE_CHECKING:
    import diffusers

FAMILIES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""Classes of diffusers whose attention is read."""

SCHEDULERS = {
    "pndm": "PNDMScheduler",
    "ddim": "DDIMScheduler",
    "dpm": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
"""Name -> class of diffusers. `pndm` is that of the authors: 51 calls of the U-Net for
50 steps."""

_WHAT = "stable diffusion"
_NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
# What only a picture as a prompt, or a censor, would ask for.
_LEFT_OUT = {
    "StableDiffusionPipeline": {
        "safety_checker": None,
        "requires_safety_checker": False,
        "feature_extractor": None,
        "image_encoder": None,
    },
    "StableDiffusionXLPipeline": {
        "feature_extractor": None,
        "image_encoder": None,
        "add_watermarker": False,
    },
}


def load_pipeline(folder: pathlib.Path) -> diffusers.DiffusionPipeline:
    """Load a pipeline from a folder as diffusers writes it; nothing is unpickled.

    Raises:
      InputError: for another family of models, or networks that the files do not fill.
    """
    # imported here: the class pulls in half of transformers, with its log lines
    import diffusers

    index = _index(folder)
    family = index["_class_name"]
    parts = {name: _network(folder, name, index) for name in _NETWORKS if name in index}
    diffusers.utils.logging.disable_progress_bar()
    with reading(folder, _WHAT):
        return getattr(diffusers, family).from_pretrained(
            folder, local_files_only=True, **parts, **_LEFT_OUT[family]
        )


def _index(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text())
    except (OSError, ValueError):
        index = None
    if not isinstance(index, dict) or "_class_name" not in index:
        raise InputError(
            f"stable diffusion: a folder as diffusers writes it is required, got none "
            f"with a model_index.json ({folder}). Download the whole folder."
        )
    if index["_class_name"] not in FAMILIES:
        raise InputError(
            "stable diffusion: a U-Net with cross-attention to words is required "
            f"({', '.join(FAMILIES)}), got {index['_class_name']} ({folder}). Give a "
            "folder of Stable Diffusion 1.x, 2.x or XL."
        )
    return index


def _network(folder: pathlib.Path, name: str, index: dict) -> torch.nn.Module:
    """Load one network, and refuse files that leave some of it random."""
    import diffusers
    import transformers

    with reading(folder / "model_index.json", _WHAT):
        library, kind = index[name]
    if library not in ("diffusers", "transformers"):
        raise InputError(
            f"stable diffusion: {name} must be a class of diffusers or transformers, "
            f"got {library}.{kind} ({folder}). Give an unchanged folder."
        )
    module = {"diffusers": diffusers, "transformers": transformers}[library]
    with reading(folder / "model_index.json", _WHAT):
        found = getattr(module, kind)
    return load_pretrained(found, folder, what=_WHAT, subfolder=name)


def check_pipeline(pipeline: diffusers.DiffusionPipeline) -> None:
    """Check that words and attention of a loaded pipeline can be read.

    Raises:
      InputError: without cross-attention to words, or when a tokenizer does not fit its
        text encoder.
    """
    processors = getattr(getattr(pipeline, "unet", None), "attn_processors", {})
    if not any(name.endswith("attn2.processor") for name in processors):
        raise InputError(
            "stable diffusion: a U-Net with cross-attention to words is required, got "
            f"{type(pipeline).__name__}. Take Stable Diffusion 1.x, 2.x or XL."
        )
    for tokenizer, encoder in text_parts(pipeline):
        # Without its files the tokenizer class builds an empty one and says nothing.
        have, want = len(tokenizer), encoder.config.vocab_size
        if have != want:
            raise InputError(
                f"stable diffusion: the tokenizer must have {want} entries, got "
                f"{have}. Download the model's tokenizer folder too."
            )
        longest = encoder.config.max_position_embeddings
        if tokenizer.model_max_length != longest:
            raise InputError(
                f"stable diffusion: a tokenizer that cuts texts at {longest} tokens is "
                f"required, got one at {tokenizer.model_max_length}. Download the "
                "model's tokenizer_config.json too."
            )
        if want == clip_tokens.NUM_TOKENS:
            # One with fewer merges has as many entries, and splits words otherwise.
            _check_words(tokenizer)


def _check_words(tokenizer: Any) -> None:
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    lines = [m.encode() if isinstance(m, str) else " ".join(m).encode() for m in merges]
    if not clip_tokens.are_merges(lines):
        raise InputError(
            f"stable diffusion: CLIP's own merges of letters are required, got "
            f"{len(lines)} or others. Download the model's tokenizer folder again."
        )


def text_parts(pipeline: diffusers.DiffusionPipeline) -> list[tuple[Any, Any]]:
    """Return (tokenizer, text encoder) of a pipeline; Stable Diffusion XL has two."""
    pairs = [
        (getattr(pipeline, f"tokenizer{tail}", None), getattr(pipeline, name, None))
        for tail, name in (("", "text_encoder"), ("_2", "text_encoder_2"))
    ]
    return [(words, encoder) for words, encoder in pairs if encoder is not None]


def set_scheduler(pipeline: diffusers.DiffusionPipeline, name: str) -> None:
    """Let a pipeline denoise with another scheduler, along its own noise levels."""
    import diffusers

    kind = getattr(diffusers, SCHEDULERS[name])
    # Of what the schedulers themselves assume, latent images take these otherwise.
    latent = {"pndm": {"skip_prk_steps": True}, "ddim": {"clip_sample": False}}
    # Values that were not said before would become defaults of the other class.
    stated = {k: v for k, v in pipeline.scheduler.config.items() if k[0] != "_"}
    pipeline.scheduler = kind.from_config(stated, **latent.get(name, {}))


def identity(pipeline: diffusers.DiffusionPipeline, weights: str | None = None) -> dict:
    """Return the identity of all parts of a pipeline that decide an image.

    Args:
      pipeline: loaded.
      weights: what stands for its weights; None hashes them.
    """
    texts = dict(zip(("text", "text_2"), text_parts(pipeline), strict=False))
    networks = {"unet": pipeline.unet, "decoder": pipeline.vae}
    networks |= {name: encoder for name, (_, encoder) in texts.items()}
    config = pipeline.scheduler.config
    return {
        "weights": weights or weights_id(**networks),
        **{name: settings_of(_config_of(net)) for name, net in networks.items()},
        "words": [files.content_key(words.get_vocab()) for words, _ in texts.values()],
        "sampler": type(pipeline.scheduler).__name__,
        "schedule": settings_of(config),
    }


def _config_of(network: torch.nn.Module) -> Mapping[str, Any]:
    config: Any = network.config
    return config if isinstance(config, Mapping) else config.to_dict()
