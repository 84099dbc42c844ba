"""The text towers of SigLIP 2 and TIPSv2 in PyTorch, through transformers.

Same files and same numbers as `sas_jax.text.folder_tower` (a test holds them equal).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Float

from sas_jax.teachers.precision import exact
from sas_jax.text import clip_weights, folder_files


class TorchFolderText:
    """Encode texts; results are kept in memory.

    Attributes:
      space: of the vectors.
    """

    def __init__(self, weights: folder_files.FolderWeights):
        """Take weights that were found; they are read here."""
        self.space = weights.space
        self._tokens = weights.tokens
        self._network: Any = network(weights)
        self._known: dict[str, np.ndarray] = {}

    @torch.no_grad()
    @exact()
    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return one unit vector per text.

        Returns:
          float32 [n, C] in the order given.

        Deterministic: a text's vector does not depend on the other texts.
        """
        for text in dict.fromkeys(texts):
            if text not in self._known:  # alone: see `teachers.text`
                ids = torch.tensor(self._tokens.encode([text]))
                found = self._network(input_ids=ids.to(self._network.device))
                row = torch.nn.functional.normalize(found.pooler_output[0], dim=0)
                self._known[text] = row.float().cpu().numpy()
        if not texts:
            return np.zeros((0, self.space.dim), np.float32)
        return np.stack([self._known[text] for text in texts])

    def to(self, device: str) -> "TorchFolderText":
        """Move the weights to `cpu` or `cuda:<n>` and return the tower."""
        self._network.to(device)
        return self

    def close(self) -> None:
        """Free the weights; texts that were encoded stay known."""
        self._network.to("meta")


def load(
    name: str, *, weights: str | None = None, download: bool = False
) -> TorchFolderText:
    """Return the tower of a text space; arguments and errors as `folder_files.load`."""
    return TorchFolderText(folder_files.load(name, weights, download=download))


def network(weights: folder_files.FolderWeights) -> transformers.PreTrainedModel:
    """Return the network of a tower of any size, filled."""
    tower, kind = dict(weights.tower), weights.kind
    size = clip_weights.size_of(tower, weights.heads)
    common = {
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "intermediate_size": len(tower["transformer.resblocks.0.mlp.c_fc.bias"]),
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": size.length,
        "hidden_act": kind.style.activation,
        "layer_norm_eps": kind.style.epsilon,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    projection, bias = tower.pop("text_projection"), tower.pop("text_bias", None)
    names = clip_weights.to_transformers(tower)
    state = {name.removeprefix("text_model."): array for name, array in names.items()}
    if bias is not None:
        state |= {"head.weight": projection.T, "head.bias": bias}
    tensors = {k: torch.from_numpy(np.ascontiguousarray(a)) for k, a in state.items()}
    with torch.device("meta"):
        if kind.is_sinusoid:  # the table is scaled already
            config = transformers.Tipsv2TextConfig(**common, scale_sqrt_depth=False)
            found: Any = transformers.Tipsv2TextModel(config)
        else:
            config = transformers.SiglipTextConfig(**common, projection_size=size.dim)
            found = transformers.SiglipTextModel(config)
    if kind.is_sinusoid:  # no part of the state
        waves = tensors.pop("embeddings.position_embedding.weight")
        found.embeddings.position_embedding.weights = waves
    found.load_state_dict(tensors, assign=True)
    found.embeddings.position_ids = torch.arange(size.length)[None]  # nor is this
    return found.eval().requires_grad_(False)
