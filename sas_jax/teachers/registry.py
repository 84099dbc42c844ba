"""Teachers and captioners by name: a new one is a file and a line here.

The module of a model is imported when the model is loaded, so listing works without
torch.
"""

import dataclasses
import importlib.util
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.extras import install_command
from sas_jax.registry import LoadOptions, check_name, function_of
from sas_jax.weights.cards import card
from sas_jax.weights.find import require_files, seed_of

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_NEEDS = ("torch", "transformers", "cv2", "webcolors")
_USUAL = LoadOptions()
_PACKAGE = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Entry:
    """Describe one model of the table.

    Attributes:
      contract: `dense`, `mask`, `heat` or `captioner` (see contracts.py).
      loader: `module:function`, called with `LoadOptions`.
      needs: modules that must be importable.
      capability: folder in this package of its measured table, see
        `capability.shipped`; None has none.
      has_weights: whether it was trained at all.
      has_half: whether it computes here and with PyTorch, so that half precision can
        be asked of it.
      is_own: whether a user added it.
    """

    contract: str
    loader: str
    needs: tuple[str, ...] = _NEEDS
    capability: str | None = None
    has_weights: bool = True
    has_half: bool = True
    is_own: bool = False


ENTRIES: dict[str, Entry] = {
    "rooms-dense": Entry(
        "dense", "sas_jax.rooms.teachers.dense:load", capability="rooms/teachers/tables"
    ),
    "rooms-mask": Entry(
        "mask",
        "sas_jax.rooms.teachers.load_mask:load",
        capability="rooms/teachers/tables",
    ),
    "lseg": Entry("dense", "sas_jax.teachers.lseg.teacher:load"),
    "seem": Entry("mask", "sas_jax.teachers.seem.teacher:load"),
    "openseg": Entry(
        "dense",
        "sas_jax.teachers.openseg.teacher:load",
        needs=("torch",),
        has_half=False,
    ),
    "odise": Entry(
        "mask",
        "sas_jax.teachers.odise.teacher:load",
        needs=("torch", "transformers", "diffusers"),
    ),
    "sam3": Entry("mask", "sas_jax.teachers.sam3:load"),
    "grounded_sam2": Entry("mask", "sas_jax.teachers.grounded_sam2:load"),
    "oneformer": Entry("mask", "sas_jax.teachers.oneformer:load"),
    "eomt": Entry("mask", "sas_jax.teachers.eomt:load"),
    "colour-size": Entry(
        "captioner", "sas_jax.teachers.captions:load_colour_size", has_weights=False
    ),
    "imagenet": Entry(
        "dense",
        "sas_jax.teachers.imagenet.teacher:load",
        capability="teachers/imagenet/tables",
    ),
    "maskclip": Entry("dense", "sas_jax.teachers.maskclip:load"),
    "maskclip-b32": Entry("dense", "sas_jax.teachers.maskclip:load_b32"),
    "siglip2": Entry("dense", "sas_jax.teachers.siglip2:load"),
    "tipsv2": Entry("dense", "sas_jax.teachers.tipsv2:load"),
    "clipseg": Entry("heat", "sas_jax.teachers.clipseg:load"),
    "tap": Entry(
        "captioner",
        "sas_jax.teachers.tap.captioner:load",
        needs=("torch", "cv2", "sentencepiece"),
    ),
    "florence2": Entry("captioner", "sas_jax.teachers.florence2:load"),
    "blip": Entry("captioner", "sas_jax.teachers.blip:load"),
    "none": Entry(
        "captioner", "sas_jax.teachers.captions:load_none", has_weights=False
    ),
}
"""What `--teachers` and `--captioner` take -> what it is and where."""

OWN = "SAS_JAX_TEACHERS"
"""Environment variable of more lines, `name=contract:module:function`, with spaces."""


def add(name: str, contract: str, loader: str) -> None:
    """Add a line to the table, for this process and those that it starts.

    Args:
      name: as the model's `spec` says.
      contract: dense, mask or heat.
      loader: `module:function`.

    Raises:
      InputError: for another contract or loader, and for a name of the package.
    """
    lines = os.environ.get(OWN, "").split()
    others = [line for line in lines if not line.startswith(f"{name}=")]
    if name in ENTRIES and len(others) == len(lines):
        raise InputError(
            f"registry: a name that is free is required, got {name}. Choose another."
        )
    line = f"{name}={contract}:{loader}"
    ENTRIES[name] = _own(line)[1]
    os.environ[OWN] = " ".join([*others, line])


def _own(line: str) -> tuple[str, Entry]:
    said = re.fullmatch(r"([\w.-]+)=(dense|mask|heat):([\w.]+:\w+)", line)
    if not said:
        raise InputError(
            "registry: a teacher of one's own must be <name>=<dense, mask or heat>:"
            f"<module>:<function>, got {line}. Correct it ({OWN})."
        )
    return said[1], Entry(said[2], said[3], needs=(), is_own=True)


ENTRIES |= dict(map(_own, os.environ.get(OWN, "").split()))


def names(*contracts: str) -> list[str]:
    """Return the names of all models of the given contracts (all, if none given)."""
    return [
        name
        for name, row in ENTRIES.items()
        if not contracts or row.contract in contracts
    ]


def entry(name: str) -> Entry:
    """Return the table's row for a name.

    Raises:
      InputError: for an unknown name, listing the known ones.
    """
    check_name(name, ENTRIES, "a model", "the flag")
    return ENTRIES[name]


def missing_needs(row: Entry) -> list[str]:
    """Return the modules that a model needs and this environment lacks."""
    return [need for need in row.needs if importlib.util.find_spec(need) is None]


def shipped_capability(name: str) -> pathlib.Path | None:
    """Return the file of the capability that comes with a teacher, None without."""
    row = ENTRIES.get(name)
    if row is None or row.capability is None:
        return None
    return _PACKAGE / row.capability / f"{name}.json"


def check(
    name: str, options: LoadOptions = _USUAL, *, contracts: Sequence[str] = ()
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
    _check_needs(name, row)
    _check_device(options.device)
    _check_precision(name, row, options)
    _check_weights(name, row, options)


def _check_needs(name: str, row: Entry) -> None:
    if missing := missing_needs(row):
        raise InputError(
            f"registry: {name} needs {', '.join(row.needs)}, got no "
            f"{', '.join(missing)} in this environment. "
            f"Run: {install_command('teachers')}"
        )


def load(
    name: str, options: LoadOptions = _USUAL, *, contracts: Sequence[str] = ()
) -> Any:
    """Load a teacher or captioner.

    Args:
      name: a key of `ENTRIES`.
      options: weights, device, and whether weights may be fetched.
      contracts: what is wanted; any, if none given.

    Returns:
      An object of the entry's contract (see contracts.py).

    Raises:
      InputError: as `check`; of a user's, for whatever it raises too, see `own`.
    """
    check(name, options, contracts=contracts)
    row = entry(name)
    if row.is_own:
        from sas_jax.teachers.own import load_own

        load_it = lambda: function_of(row.loader)(options)  # noqa: E731
        model = load_own(name, row.contract, load_it)
    else:
        model = function_of(row.loader)(options)
    if options.precision == "f32":
        return model
    from sas_jax.teachers.precision import at_precision

    return at_precision(model, options.precision, options.device)


def _check_weights(name: str, row: Entry, options: LoadOptions) -> None:
    described, given = card(name), options.weights
    if given is not None and not row.has_weights:
        raise InputError(
            f"registry: {name} is a model without weights, got {given}. Leave them out "
            "of --weights."
        )
    if seed_of(given) is not None:
        return
    if described and described.files:
        if not options.download or given is not None:
            require_files(name, given)
    elif given is not None and not pathlib.Path(given).exists():
        raise WeightsMissing(
            f"registry: {name} needs its weights, got no file ({given}). Give "
            f"--weights={name}=<path>, or smoke-test with --weights={name}=random:0."
        )


def _check_precision(name: str, row: Entry, options: LoadOptions) -> None:
    if options.precision == "f32":
        return
    if row.contract == "captioner" or not row.has_half:
        raise InputError(
            f"registry: {name} computes in f32, got {options.precision}. Leave out "
            "--precision or the model."
        )
    from sas_jax.teachers.precision import check_precision

    check_precision(options.precision, options.device)


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
