"""CLIP's text towers in PyTorch, through transformers.

Same files and same numbers as `sas_jax.text.clip` (a test holds them equal).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import transformers
from jaxtyping import Float, Int64

from sas_jax.artefacts.space import TextSpace
from sas_jax.teachers.precision import exact
from sas_jax.text import clip_files, clip_tokens, clip_weights


class TorchClipText:
    """Encode texts with a text tower of CLIP; results are kept in memory.

    Attributes:
      space: of the vectors.
    """

    def __init__(
        self,
        space: TextSpace,
        tower: clip_weights.State,
        *,
        heads: int | None = None,
        device: str = "cpu",
    ):
        """Build the network and fill it.

        Args:
          space: that the tower's texts live in.
          tower: of `clip_weights.text_tower`.
          heads: of attention, where they are not 64 wide.
          device: `cpu` or `cuda:<n>`.
        """
        self.space = space
        self._network = network(tower, heads=heads).to(device)
        self._known: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return one unit vector per text.

        Returns:
          float32 [n, C] in the order given.

        Deterministic: a text's vector does not depend on the other texts.
        """
        for text in dict.fromkeys(texts):
            if text not in self._known:
                # Alone, and no longer than it is: see `teachers.text`.
                ids = clip_tokens.tokenize([text])
                ids = ids[:, : int(ids[0].argmax()) + 1]
                self._known[text] = unit(self.project(ids))[0]
        if not texts:
            return np.zeros((0, self.space.dim), np.float32)
        return np.stack([self._known[text] for text in texts])

    @torch.no_grad()
    @exact()
    def project(self, ids: Int64[np.ndarray, "n L"]) -> Float[np.ndarray, "n C"]:
        """Return the features of token ids, f32, of CLIP's own length.

        Args:
          ids: rows of `clip_tokens.tokenize`; the highest id of a row ends its text.
        """
        rows = torch.from_numpy(ids).to(self._network.device)
        return self._network(input_ids=rows).text_embeds.float().cpu().numpy()

    def to(self, device: str) -> "TorchClipText":
        """Move the weights to `cpu` or `cuda:<n>` and return the tower."""
        self._network.to(device)
        return self

    def close(self) -> None:
        """Free the weights; texts that were encoded stay known."""
        self._network.to("meta")


def load(
    name: str,
    *,
    weights: str | None = None,
    device: str = "cpu",
    download: bool = False,
) -> TorchClipText:
    """Return a text tower of OpenAI's CLIP.

    Args:
      name: a key of `clip_weights.SIZES`.
      weights: a file or folder, `random:<seed>`, or None to look it up.
      device: `cpu` or `cuda:<n>`.
      download: whether absent weights may be downloaded.

    Raises:
      WeightsMissing: where there are none.
      InputError: for files that are not of this tower.
    """
    found = clip_files.load(name, weights, download=download)
    return TorchClipText(found.space, found.tower, device=device)


def from_state(
    name: str, state: Mapping[str, torch.Tensor], where: object, device: str = "cpu"
) -> TorchClipText:
    """Return the text tower that a larger checkpoint carries.

    Args:
      name: of the tower, see `load`.
      state: under any names that `clip_weights.text_tower` knows, e.g. LSeg's
        `net.clip_pretrained.*`.
      where: names the file in errors.
      device: `cpu` or `cuda:<n>`.

    Raises:
      InputError: naming tensors that are missing or of another shape.
    """
    arrays = {
        key: (value.float() if value.is_floating_point() else value).cpu().numpy()
        for key, value in state.items()
    }
    tower = clip_weights.text_tower(arrays, where, clip_weights.SIZES[name])
    return TorchClipText(clip_files.space_of(name, tower), tower, device=device)


def network(
    tower: clip_weights.State, *, heads: int | None = None
) -> transformers.CLIPTextModelWithProjection:
    """Return the network of a tower of any size, filled.

    Args:
      tower: of `clip_weights.text_tower`.
      heads: of attention, where they are not 64 wide.
    """
    size = clip_weights.size_of(tower, heads)
    config = transformers.CLIPTextConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.length,
        projection_dim=size.dim,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        bos_token_id=None,
        pad_token_id=None,
        eos_token_id=2,  # the highest id ends a text, as in OpenAI's code
        attn_implementation="eager",
    )
    with torch.device("meta"):
        network = transformers.CLIPTextModelWithProjection(config)
    state = {
        name: torch.from_numpy(np.ascontiguousarray(array))
        for name, array in clip_weights.to_transformers(tower).items()
    }
    network.load_state_dict(state, assign=True)
    positions = torch.arange(size.length)[None]  # no part of the state
    network.text_model.embeddings.position_ids = positions
    return network.eval().requires_grad_(False)


def unit(rows: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """Return rows of length one."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
