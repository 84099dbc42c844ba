"""Teachers and captioners by name: what each is, needs and where its weights lie.

A plain table; the module of a model is imported when the model is loaded, so listing
works without torch.
"""

import dataclasses
import importlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

from sas_jax.errors import InputError, WeightsMissing

SHIPPED_WEIGHTS = pathlib.Path(__file__).parent / "weights"


@dataclasses.dataclass(frozen=True)
class Entry:
    """Describe one model of the table.

    Attributes:
      name: what `--teacher` takes.
      contract: `dense`, `mask`, `heat` or `captioner`.
      loader: `module:function`; called as `function(weights, device)`.
      needs: modules that must be importable.
      weights: default checkpoint, None for a model without weights.
      licence: licence of the weights.
      summary: one line for people.
    """

    name: str
    contract: str
    loader: str
    needs: tuple[str, ...]
    weights: pathlib.Path | None
    licence: str
    summary: str


_TORCH = ("torch", "transformers", "cv2")

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="rooms-dense",
            contract="dense",
            loader="sas_jax.teachers.rooms_dense:load",
            needs=_TORCH,
            weights=SHIPPED_WEIGHTS / "rooms_dense.safetensors",
            licence="Apache-2.0",
            summary="small encoder-decoder, per-pixel features in MiniLM's text space",
        ),
        Entry(
            name="rooms-mask",
            contract="mask",
            loader="sas_jax.teachers.rooms_mask:load",
            needs=_TORCH,
            weights=SHIPPED_WEIGHTS / "rooms_mask.safetensors",
            licence="Apache-2.0",
            summary="small bottom-up panoptic network, masks with labels",
        ),
        Entry(
            name="colour-size",
            contract="captioner",
            loader="sas_jax.teachers.captions:load_colour_size",
            needs=("webcolors", "cv2"),
            weights=None,
            licence="Apache-2.0",
            summary="says the colour and size that it measures inside a mask",
        ),
        Entry(
            name="none",
            contract="captioner",
            loader="sas_jax.teachers.captions:load_none",
            needs=(),
            weights=None,
            licence="Apache-2.0",
            summary="says nothing, so that the label alone is encoded",
        ),
    )
}


def names(*contracts: str) -> list[str]:
    """Return the names of all models of the given contracts (all, if none given)."""
    return [
        e.name for e in ENTRIES.values() if not contracts or e.contract in contracts
    ]


def entry(name: str) -> Entry:
    """Return the table's row for a name.

    Raises:
      InputError: for an unknown name, listing the known ones.
    """
    if name not in ENTRIES:
        raise InputError(
            f"registry: a model must be one of {', '.join(ENTRIES)}, got {name}. "
            "Correct the flag."
        )
    return ENTRIES[name]


def missing_needs(row: Entry) -> list[str]:
    """Return the modules that a model needs and this environment lacks."""
    return [need for need in row.needs if importlib.util.find_spec(need) is None]


def load(name: str, *, weights: str | None = None, device: str = "cpu") -> Any:
    """Load a teacher or captioner.

    Args:
      name: a key of `ENTRIES`.
      weights: path of a checkpoint, `random:<seed>` for a smoke test without
        training, or None for the default checkpoint.
      device: `cpu` or `cuda:<n>`.

    Returns:
      An object of the entry's contract (see contracts.py).

    Raises:
      InputError: for an unknown name or missing modules.
      WeightsMissing: when the checkpoint does not exist, with its path.
    """
    row = entry(name)
    if missing := missing_needs(row):
        raise InputError(
            f"registry: {name} needs {', '.join(row.needs)}, got no "
            f"{', '.join(missing)} in this environment. "
            "Run: pip install 'sas_jax[teachers]'"
        )
    source = weights or (str(row.weights) if row.weights else None)
    if (
        source
        and not source.startswith("random:")
        and not pathlib.Path(source).exists()
    ):
        raise WeightsMissing(
            f"registry: {name} needs its weights ({row.licence}), got no file "
            f"({source}). Give --weights, train with experiments/pretrain_rooms.py, or "
            "smoke-test with --weights=random:0."
        )
    module, function = row.loader.split(":")
    make: Callable = getattr(importlib.import_module(module), function)
    return make(source, device)
