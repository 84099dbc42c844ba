"""Text towers in PyTorch by name: what mask teachers' labels are encoded with.

A mask teacher's labels are words, so they can live in any text space: in that of the
dense teachers that it is fused with.
"""

from sas_jax.errors import InputError
from sas_jax.teachers.contracts import TorchTower
from sas_jax.text import clip_weights, folder_files, minilm_files


def load(
    name: str, *, weights: str | None = None, download: bool = False
) -> TorchTower:
    """Return the tower of a text space.

    Args:
      name: of the space.
      weights: `random:<seed>` for a smoke test, where the tower has no weights of its
        own in the package; None looks them up.
      download: whether absent weights may be fetched.

    Raises:
      WeightsMissing: where there are none.
      InputError: for a space without a tower in PyTorch.
    """
    if name == minilm_files.SPACE.name:
        from sas_jax.teachers.text import load_torch_minilm

        return load_torch_minilm()
    if name in clip_weights.SIZES:
        from sas_jax.teachers import clip_text

        return clip_text.load(name, weights=weights, download=download)
    if name in folder_files.KINDS:
        from sas_jax.teachers import folder_text

        return folder_text.load(name, weights=weights, download=download)
    spaces = (minilm_files.SPACE.name, *clip_weights.SIZES, *folder_files.KINDS)
    known = ", ".join(spaces)
    raise InputError(
        f"text: labels need a space of {known}, got {name}. Correct --label_space."
    )
