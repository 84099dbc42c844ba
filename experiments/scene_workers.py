"""A script whose scenes go to the workers that --workers and --ray ask for.

The script has a function `worker(threads)`, called once in each worker, which loads
the models and returns what does one scene. It is found by its name there, since a
worker is a process of its own with the flags of this one.
"""

import functools
import importlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import stage_flags
import stage_process
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.dispatch import Answer, Crew, Task, spread


def crew() -> Crew:
    """Return who works, as the flags say."""
    threads, gpus = stage_flags.THREADS, stage_flags.GPUS_PER_WORKER.value
    on_gpu = stage_flags.DEVICE.value.startswith("cuda")
    return Crew(
        stage_flags.WORKERS.value,
        None if threads.value == threads.default else threads.value,
        stage_flags.RAY.value,
        float(on_gpu) if gpus is None else gpus,
    )


def answers(
    script: str, tasks: Sequence[Task], bar: tqdm, who: Crew | None = None
) -> Iterator[Any]:
    """Do tasks by a script's `worker`; yield what came of each, as it comes.

    Args:
      script: name of its module.
      tasks: what is to be done.
      bar: goes on with every task that is done.
      who: works; by default as the flags say.
    """
    begin: Callable[[int], Callable[[Any], Answer]]
    who = who or crew()
    if min(who.workers, len(tasks)) < 2 and who.ray is None:
        begin = _module(script).worker
    else:
        arguments = (script, stage_process.shared_flags(), os.getcwd())  # noqa: PTH109
        begin = functools.partial(_begin, *arguments)
    for _, answer in spread(tasks, begin, who):
        yield answer.result
        bar.update(not answer.busy)


def _begin(
    script: str, arguments: Sequence[str], folder: str, threads: int
) -> Callable[[Any], Answer]:
    """Call a script's `worker` where this process has none of the driver's flags."""
    os.chdir(folder)
    module = _module(script)
    flags.FLAGS([script, *arguments, f"--threads={threads}"])
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
    return module.worker(threads)


def _module(script: str) -> ModuleType:
    """Return a script's module: the one that runs, where it is that."""
    main = sys.modules["__main__"]
    if pathlib.Path(getattr(main, "__file__", None) or "").stem == script:
        return main
    return importlib.import_module(script)
