"""From embeddings of masks to probabilities of names.

Source: arXiv 2303.04803 section 3.5, equations of the two classifiers and of their
  geometric mean.
"""

import torch
from jaxtyping import Float
from torch import Tensor

CLIP_SCALE = 100.0
"""Factor on cosines of CLIP, as CLIP was trained."""


def class_logits(
    embeddings: Float[Tensor, "Q P"],
    texts: Float[Tensor, "K P"],
    scale: Float[Tensor, ""] | float,
) -> Float[Tensor, "Q K"]:
    """Return scaled cosines of embeddings and texts, of any lengths."""
    return scale * _unit(embeddings) @ _unit(texts).T


def ensemble(
    own: Float[Tensor, "Q K+1"],
    clip: Float[Tensor, "Q K"],
    share: Float[Tensor, " K"],
) -> Float[Tensor, "Q K+1"]:
    """Return log-probabilities of names, the last of which is the void.

    Among the names, p_k is proportional to own_k^(1 - w_k) clip_k^(w_k); together they
    have what the diffusion model's classifier does not give to the void.

    Args:
      own: logits from the diffusion model, the void's last.
      clip: logits of CLIP.
      share: the weights w, of CLIP.
    """
    mixed = (1 - share) * own.log_softmax(-1)[:, :-1] + share * clip.log_softmax(-1)
    # log(1 - p_void) from the others, without the difference's cancellation
    others = own[:, :-1].logsumexp(-1, keepdim=True) - own.logsumexp(-1, keepdim=True)
    void = own.log_softmax(-1)[:, -1:]
    return torch.cat([mixed.log_softmax(-1) + others, void], -1)


def _unit(rows: Float[Tensor, "n P"]) -> Float[Tensor, "n P"]:
    return torch.nn.functional.normalize(rows, dim=-1)
