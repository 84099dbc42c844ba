"""A workspace that is kept on object storage, for machines that may vanish (--remote).

Pulled before a script works, pushed every few minutes and when it ends, by an error or
Ctrl-C too. A machine that is taken away loses the minutes since the last push: the
same command on another one pulls what is there and goes on.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator

import stage_flags
from tqdm import tqdm

from sas_jax.artefacts.mirror import Copied, Mirror
from sas_jax.artefacts.workspace import Workspace
from sas_jax.errors import InputError

_HELD = "SAS_JAX_REMOTE_HELD"  # by the script that runs this one


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Pull the workspace, push it meanwhile and at the end; nothing without --remote.

    Raises:
      InputError: where the storage fails at the beginning or at the end. What fails in
        between is warned of and tried again.
    """
    url = stage_flags.REMOTE.value
    if url is None or os.environ.get(_HELD) == url:
        yield
        return
    mirror = Mirror(Workspace(stage_flags.WORKSPACE.value).root, url)
    only = stage_flags.REMOTE_ONLY.value
    with tqdm(desc=f"pull {url}", unit="file") as bar:
        mirror.pull(only, lambda _: bar.update())
    over = threading.Event()
    meanwhile = threading.Thread(target=_push_now_and_then, args=(mirror, over))
    meanwhile.start()
    os.environ[_HELD] = url
    try:
        yield
    finally:
        del os.environ[_HELD]
        over.set()
        meanwhile.join()
        began = time.monotonic()
        done = mirror.push()
        print(f"pushed to {url}: {_said(done)}, {time.monotonic() - began:.1f} s")


def _push_now_and_then(mirror: Mirror, over: threading.Event) -> None:
    while not over.wait(60 * stage_flags.REMOTE_MINUTES.value):
        try:
            mirror.push()
        except InputError as error:
            logging.warning("%s It is tried again.", error)


def _said(done: Copied) -> str:
    text = f"{done.files} files of {done.bytes / 1e6:.1f} MB"
    return text + (f", {done.moving} still changing" if done.moving else "")
