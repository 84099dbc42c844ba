"""In which words a class is asked for.

A *prompt* is the sentence that a text tower encodes for a class name, or that an image
is synthesized from.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

from sas_jax.errors import InputError

PROMPT = "a {} in a scene"
"""Sentence for a class name at evaluation, capability and alignment."""

OTHER = "other"
OTHER_NAMES = frozenset({"other", "others", "otherfurniture", "other furniture"})
"""Names of the collecting class; they are encoded as the bare word `other`."""


def prompt(name: str, template: str = PROMPT) -> str:
    """Return the sentence for one class name; the collecting class stays a bare word.

    The authors' code overwrites a fixed *position* by `other`, which hits the wrong
    class for the longer Matterport lists (`air vent`, `headboard`, `person`); here
    the *name* decides, which equals the code for ScanNet and Matterport-21.

    Args:
      name: class name, e.g. `shower curtain`.
      template: sentence with one `{}`.

    Returns:
      The text to encode.

    Source: SAS (arXiv 2503.08512) section 3.5; authors' code run/evaluate.py.
    """
    return OTHER if name in OTHER_NAMES else template.format(name)


def prompts(names: Sequence[str], template: str = PROMPT) -> list[str]:
    """Return `prompt` of every name, in order."""
    return [prompt(name, template) for name in names]


class Encoder(Protocol):
    """What encodes texts: a text tower of either half."""

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return one unit vector per text, f32, in the order given."""
        ...


def ensemble(
    tower: Encoder, names: Sequence[str], templates: Sequence[str]
) -> Float[np.ndarray, "n C"]:
    """Return the vector of each name in the mean of many sentences.

    Args:
      tower: that encodes.
      names: of classes.
      templates: sentences with one `{}` each.

    Returns:
      f32 [n, C]: unit vectors of all sentences of a name, their mean, of length one.

    Raises:
      InputError: without a template, and for one without a place for the name.

    Source: Radford et al. (arXiv 2103.00020), section 3.1.4.
    """
    if not templates or (wrong := [t for t in templates if t.count("{}") != 1]):
        raise InputError(
            "ensemble: sentences with one {} each are required, got "
            f"{wrong[:3] if templates else 'none'}. Say where the name stands."
        )
    texts = [prompt(name, template) for name in names for template in templates]
    rows = tower.encode(texts)
    mean = rows.reshape(len(names), len(templates), rows.shape[1]).mean(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def image_prompt(
    name: str, compat: Literal["paper", "official"] = "paper", scene: str = "room"
) -> str:
    """Return the prompt that synthesizes an image of a class.

    Args:
      name: class name.
      compat: `paper` writes "a good photo of a X"; `official` (the authors' code)
        adds "in a room".
      scene: what the image is set in, used by `official` only.

    Returns:
      The prompt of the text-to-image model.

    Raises:
      InputError: for another `compat`.

    Source: SAS section 3.2; authors' code MCC/Stable_Diffusion/generate_any_class.py.
    """
    if compat == "paper":
        return f"a good photo of a {name}"
    if compat == "official":
        return f"a good photo of a {name} in a {scene}"
    raise InputError(
        f"image_prompt: compat must be paper or official, got {compat}. "
        "Choose one of the two."
    )
