"""Networks in folders as transformers and diffusers write them: complete, or refused.

Both libraries leave what the files lack as it was initialised, and only log it. What
they raise for a configuration that no network can be built of is anything at all.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from sas_jax.errors import InputError
from sas_jax.teachers.checkpoint import check_finite, read_state

_PICKLED = "pytorch_model.bin"


def load_pretrained(
    kind: Any, folder: pathlib.Path, *, what: str, subfolder: str = ""
) -> Any:
    """Return a network of a folder in f32, ready to evaluate; nothing is unpickled.

    Older folders of transformers have `pytorch_model.bin` alone, of which the tensors
    are read.

    Args:
      kind: class of transformers or diffusers.
      folder: of the model.
      what: the model's name, for errors.
      subfolder: of the network in it.

    Raises:
      InputError: for a folder that cannot be read, files that do not fill the network,
        and weights that are no numbers.
    """
    place = folder / subfolder
    with reading(place, what), _quiet():
        source, options = _source(kind, folder, subfolder)
        network, report = kind.from_pretrained(
            source, output_loading_info=True, **options
        )
    # Of another shape: (name, shape there, shape here).
    others = (" ".join(map(str, key)) for key in report["mismatched_keys"])
    if absent := sorted([*report["missing_keys"], *others]):
        raise InputError(
            f"{what}: the files must fill {kind.__name__}, got none for "
            f"{', '.join(absent[:3])} ({place}). Download it again."
        )
    check_finite(network, what=what, path=place)
    return network.eval().float()


@contextlib.contextmanager
def reading(place: pathlib.Path, what: str) -> Iterator[None]:
    """Turn whatever these libraries raise while they read a folder into an InputError.

    Args:
      place: that is read.
      what: the model's name.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())  # these libraries speak in paragraphs
        raise InputError(
            f"{what}: a complete folder is required, got one that cannot be read "
            f"({place}: {type(error).__name__}: {said}). Download it again."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the lists of transformers back: what matters of them is raised."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _source(
    kind: Any, folder: pathlib.Path, subfolder: str
) -> tuple[pathlib.Path | None, dict[str, Any]]:
    """Return what `from_pretrained` is to read, and how."""
    place = folder / subfolder
    pickled, whole = place / _PICKLED, any(place.glob("*.safetensors"))
    files: dict[str, Any] = {
        "subfolder": subfolder,
        "variant": _variant(place),
        "local_files_only": True,
        "use_safetensors": True,
    }
    if kind.__module__.startswith("diffusers"):
        return folder, files | {"low_cpu_mem_usage": False}  # else it needs accelerate
    names = {"ignore_mismatched_sizes": True}  # `load_pretrained` tells them
    if whole or not pickled.is_file():
        return folder, files | names
    config = kind.config_class.from_pretrained(place)
    return None, {"state_dict": read_state(pickled), "config": config} | names


def _variant(folder: pathlib.Path) -> str | None:
    """Return `fp16` where the weights lie there in half precision only."""
    names = [path.name for path in folder.glob("*.safetensors")]
    return "fp16" if names and all(".fp16" in name for name in names) else None
