"""How every script runs: bad input is one line, a fault of the code is a crash report.

Exit status 1 either way. An error of the input says what to mend, and its traceback
would only hide that; --debug or the variable SAS_JAX_DEBUG shows it all the same.
Anything else is a fault of this project: its traceback is shown and kept in a log.
"""

import contextlib
import logging
import os
import pathlib
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import absl.logging
import flag_help
import remote
import stage_flags
from absl import app, flags
from flagfiles import expanded

import sas_jax
from sas_jax.artefacts.workspace import Workspace
from sas_jax.errors import InputError, system_error
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
            sys.exit(f"error: {_not_flags(' '.join(argv[1:]))}")
        try:
            with remote.kept():
                main()
            sys.stdout.flush()
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
        except BrokenPipeError:
            _nobody_reads()
        except OSError as error:
            end_bars()
            known = error.filename is not None or system_error(error) is not None
            if not known or debugging():
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
    absl.logging.set_verbosity(absl.logging.WARNING)
    _tell_once()
    app.run(guarded, flags_parser=_parsed)


def _tell_once() -> None:
    """Show warnings as errors are shown, and no words twice: a scan may open often."""
    told = set()

    def is_new(record: logging.LogRecord) -> bool:
        count = len(told)
        told.add(record.getMessage())
        return len(told) > count

    logging.addLevelName(logging.WARNING, "warning")
    handler = absl.logging.get_absl_handler()
    handler.addFilter(is_new)
    handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))


class _OneLine(logging.Formatter):
    """Leaves tracebacks of other packages to --debug: errors that matter are raised."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback where it was asked for."""
        return "".join(traceback.format_exception(*ei)) if debugging() else ""


def _parsed(argv: Sequence[str]) -> list[str]:
    """Parse flags, those of flagfiles too; or say what there is, and end."""
    if (said := flag_help.asked(argv[1:])) is not None:
        try:
            print(said, flush=True)
        except BrokenPipeError:
            _nobody_reads()
        sys.exit(0)
    try:
        return flags.FLAGS([argv[0], *expanded(argv[1:])])
    except InputError as error:
        sys.exit(f"error: {error}")
    except flags.Error as error:
        sys.exit(f"error: {_not_flags(str(error))}")


def _not_flags(said: str) -> InputError:
    """Return what to say of a command line that is not understood."""
    said = " ".join(said.split()).replace(" ?", "?").rstrip(".")
    missing = re.findall(r"flag --(\w+)=None: Flag --\1 must have a value", said)
    said = " and ".join(f"no --{name}" for name in missing) or said
    end = "" if said.endswith("?") else "."
    return InputError(
        f"flags: flags that {_script()} knows are required, got {said}{end} Correct "
        "them; --help lists them all."
    )


def _nobody_reads() -> None:
    """End quietly: `| head` has seen enough, and what is left has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


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
        f"{error.strerror} ({error.filename or 'which one, the system does not say'}). "
        "Check its permissions and the space on the disk, then run the same command "
        "again."
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
