"""Teachers and captioners by name: what each is, needs and where its weights lie.

A plain table; the module of a model is imported when the model is loaded, so listing
works without torch.
"""

import dataclasses
import importlib
import importlib.util
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.extras import install_command
from sas_jax.stages import command

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_RANDOM = re.compile(r"random:\d+")
SHIPPED_WEIGHTS = pathlib.Path(__file__).parent.parent / "rooms/teachers/weights"


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
            loader="sas_jax.rooms.teachers.dense:load",
            needs=_TORCH,
            weights=SHIPPED_WEIGHTS / "rooms_dense.safetensors",
            licence="Apache-2.0",
            summary="small encoder-decoder, per-pixel features in MiniLM's text space",
        ),
        Entry(
            name="rooms-mask",
            contract="mask",
            loader="sas_jax.rooms.teachers.mask:load",
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


def check(
    name: str,
    *,
    weights: str | None = None,
    device: str = "cpu",
    contracts: Sequence[str] = (),
) -> None:
    """Check that `load` can do what is asked for, without loading; arguments as there.

    Raises:
      InputError: for an unknown name, a model of another contract, missing modules, an
        absent device, or weights that are not there (`WeightsMissing`).
    """
    row = entry(name)
    if contracts and row.contract not in contracts:
        raise InputError(
            f"registry: one of {', '.join(names(*contracts))} is required, got {name}, "
            f"a {row.contract}. Correct the flag."
        )
    if missing := missing_needs(row):
        raise InputError(
            f"registry: {name} needs {', '.join(row.needs)}, got no "
            f"{', '.join(missing)} in this environment. "
            f"Run: {install_command('teachers')}"
        )
    _check_device(device)
    source = _source(row, weights)
    if source is None or _RANDOM.fullmatch(source):
        return
    if not pathlib.Path(source).exists():
        raise WeightsMissing(
            f"registry: {name} needs its weights ({row.licence}), got no file "
            f"({source}). Give --teacher_weights={name}=<path>, train with "
            f"{command('pretrain_rooms')}, or smoke-test with "
            f"--teacher_weights={name}=random:0."
        )


def load(
    name: str,
    *,
    weights: str | None = None,
    device: str = "cpu",
    contracts: Sequence[str] = (),
) -> Any:
    """Load a teacher or captioner.

    Args:
      name: a key of `ENTRIES`.
      weights: path of a checkpoint, `random:<seed>` for a smoke test without
        training, or None for the default checkpoint.
      device: `cpu` or `cuda:<n>`.
      contracts: what is wanted; any, if none given.

    Returns:
      An object of the entry's contract (see contracts.py).

    Raises:
      InputError: as `check`.
    """
    check(name, weights=weights, device=device, contracts=contracts)
    row = entry(name)
    module, function = row.loader.split(":")
    make: Callable = getattr(importlib.import_module(module), function)
    return make(_source(row, weights), device)


def _source(row: Entry, weights: str | None) -> str | None:
    return weights or (str(row.weights) if row.weights else None)


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    found = ""
    if re.fullmatch(r"cuda(:\d+)?", device):
        import torch

        index = int(device.partition(":")[2] or 0)
        count = torch.cuda.device_count()
        if index < count:
            return
        found = f", and PyTorch sees {count} GPUs"
    raise InputError(
        f"registry: a device must be cpu or a GPU that is there, cuda:<n>, got "
        f"{device}{found}. Correct --device or install PyTorch for CUDA."
    )
