"""From embeddings of masks to probabilities of names.

Source: arXiv 2303.04803 section 3.5, equations of the two classifiers and of their
  geometric mean.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class EnsembleConfig:
    """Set how much CLIP's own classes weigh.

    Attributes:
      seen: share of CLIP for names of COCO, which training asked for.
      unseen: for all other names.
      clip_scale: factor on cosines of CLIP, as CLIP was trained.
    """

    seen: float = 0.3
    unseen: float = 0.7
    clip_scale: float = 100.0


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
    seen: Bool[Tensor, " K"],
    config: EnsembleConfig | None = None,
) -> Float[Tensor, "Q K+1"]:
    """Return log-probabilities of names, the last of which is the void.

    Among the names, p_k is proportional to own_k^(1 - w_k) clip_k^(w_k); together they
    have what the diffusion model's classifier does not give to the void.

    Args:
      own: logits from the diffusion model, the void's last.
      clip: logits of CLIP.
      seen: names of the training.
      config: the weights w.
    """
    config = config or EnsembleConfig()
    weight = torch.where(seen, config.seen, config.unseen)
    mixed = (1 - weight) * own.log_softmax(-1)[:, :-1] + weight * clip.log_softmax(-1)
    # log(1 - p_void) from the others, without the difference's cancellation
    others = own[:, :-1].logsumexp(-1, keepdim=True) - own.logsumexp(-1, keepdim=True)
    void = own.log_softmax(-1)[:, -1:]
    return torch.cat([mixed.log_softmax(-1) + others, void], -1)


def _unit(rows: Float[Tensor, "n P"]) -> Float[Tensor, "n P"]:
    return torch.nn.functional.normalize(rows, dim=-1)
