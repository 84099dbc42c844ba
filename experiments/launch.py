"""How every script runs: bad input is one line, a fault of the code is a crash report.

Exit status 1 either way. An error of the input says what to mend, and its traceback
would only hide that; --debug or the variable SAS_JAX_DEBUG shows it all the same.
Anything else is a fault of this project: its traceback is shown and kept in a log.
"""

import contextlib
import os
import pathlib
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

import flag_help
import stage_flags
from absl import app, flags, logging
from flagfiles import expanded

import sas_jax
from sas_jax.artefacts.workspace import Workspace
from sas_jax.errors import InputError
from sas_jax.extras import install_command

_EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "diffusers", "cv2"), "teachers"),
    "webcolors": "teachers",
    "embreex": "rooms",
    "viser": "view",
}
_VERSIONS_OF = ("numpy", "jax", "jaxlib", "flax", "orbax", "torch")


def run(main: Callable[[], None]) -> None:
    """Run a script: bad input ends it with one line and exit status 1."""

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
        try:
            main()
        except InputError as error:
            end_bars()
            if debugging():
                traceback.print_exc()
            sys.exit(f"error: {error}")
        except MemoryError as error:
            end_bars()
            if debugging():
                traceback.print_exc()
            sys.exit(f"error: {_too_large(error)}")
        except OSError as error:
            end_bars()
            if error.filename is None or debugging():
                _crash(error)
            sys.exit(f"error: {_refused(error)}")
        except KeyboardInterrupt:
            end_bars()
            sys.exit("stopped; what is finished is kept, run the same command to go on")
        except Exception as error:
            end_bars()
            _crash(error)

    # What a terminal cannot show must not cost the work that is printed about.
    with contextlib.suppress(AttributeError):  # a stream of a test or a notebook
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.set_verbosity(logging.WARNING)
    app.run(guarded, flags_parser=_parsed)


def _parsed(argv: Sequence[str]) -> list[str]:
    """Parse flags, those of flagfiles too; or say what there is, and end."""
    if (said := flag_help.asked(argv[1:])) is not None:
        print(said)
        sys.exit(0)
    try:
        arguments = expanded(argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
    return app.parse_flags_with_usage([argv[0], *arguments])


def debugging() -> bool:
    """Tell whether --debug or SAS_JAX_DEBUG asks for every traceback."""
    wanted = os.environ.get("SAS_JAX_DEBUG", "").lower() not in ("", "0", "false", "no")
    return wanted or (flags.FLAGS.is_parsed() and stage_flags.DEBUG.value)


def end_bars() -> None:
    """End the lines of progress bars, which would share theirs with the message."""
    tqdm = sys.modules.get("tqdm")
    for bar in list(getattr(getattr(tqdm, "tqdm", None), "_instances", ())):
        bar.close()


def _refused(error: OSError) -> InputError:
    """Return what to say of a file that the system does not let be read or written."""
    return InputError(
        f"{_script()}: a file that can be read or written is required, got "
        f"{error.strerror} ({error.filename}). Check its permissions and the space on "
        "the disk."
    )


def _too_large(error: MemoryError) -> InputError:
    """Return what to say where memory ends."""
    return InputError(
        f"{_script()}: free memory for all that is asked for is required, got "
        f"{str(error) or 'none'}. Ask for less at once, or free memory; finished work "
        "is kept."
    )


def _crash(error: Exception) -> NoReturn:
    """Show and keep the traceback of a fault, and end with a line that says where."""
    trace = traceback.format_exc()
    absent = _absent_device()
    if absent is not None:
        if debugging():
            sys.stderr.write(trace)
        sys.exit(f"error: {absent}")
    sys.stderr.write(trace)
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    sys.exit(
        f"error: {_script()}: this should not have happened: {what}. Finished work is "
        f"kept. Report it with this log: {_write_log(trace)}"
    )


def _write_log(trace: str) -> pathlib.Path:
    """Write what a report needs; into the workspace, or where there is room."""
    modules = [name for name in _VERSIONS_OF if name in sys.modules]
    versions = [f"{n} {getattr(sys.modules[n], '__version__', '?')}" for n in modules]
    lines = [
        f"sas_jax {sas_jax.__version__}, Python {platform.python_version()}, "
        f"{platform.platform()}",
        ", ".join(versions),
        f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}",
        " ".join(sys.argv),
        trace,
    ]
    now = time.strftime("%Y%m%d-%H%M%S")
    name = f"{_script().removesuffix('.py')}-{now}-{os.getpid()}.log"
    text = "\n".join(lines)
    folders = [pathlib.Path(tempfile.gettempdir())]
    if flags.FLAGS.is_parsed():
        folders.insert(0, Workspace(stage_flags.WORKSPACE.value).logs)
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return path.absolute()
    return pathlib.Path("(none could be written; it is what stands above)")


def _absent_device() -> str | None:
    """Say in one line that JAX finds no device of the platform that it was told."""
    jax = sys.modules.get("jax")
    wanted = os.environ.get("JAX_PLATFORMS")
    if jax is None or not wanted:
        return None
    try:
        jax.devices()
    except Exception as error:  # of several types, one of them an empty assertion
        reason = " ".join(str(error).split()).rstrip(".") or "no plugin for it"
        return (
            f"jax: a device of JAX_PLATFORMS={wanted} is required, got none: {reason}. "
            "Unset the variable or set it to cpu; support for NVIDIA GPUs comes with: "
            f"{install_command('cuda12')}"
        )
    return None


def _script() -> str:
    return pathlib.Path(sys.argv[0]).name


def _explain(kind: type, error: BaseException, trace: object) -> None:
    """Say in one line what brings the modules of an extra where they are absent."""
    module = getattr(error, "name", None) or ""
    extra = _EXTRAS.get(module.partition(".")[0])
    if kind is not ModuleNotFoundError or extra is None or debugging():
        sys.__excepthook__(kind, error, trace)
        return
    print(
        f"error: {_script()}: the module {module} is required, got none in this "
        f"environment. Run: {install_command(extra)}",
        file=sys.stderr,
    )


# Scripts import what they need at their top, before `run` can catch anything.
sys.excepthook = _explain
