"""TensorBoard's event files, written and read without loading torch.

tensorboardX imports torch where it is installed, for tensors that nobody here passes;
that takes seconds and half a gigabyte of a process that runs JAX.
"""

import os
import pathlib
import sys
import time
from typing import Any

_loaded = "torch" in sys.modules
if not _loaded:
    # An import of it fails, which tensorboardX allows for. The stub knows no None.
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.summary import scalar
finally:
    if not _loaded:
        del sys.modules["torch"]

_FLUSH_S = 5.0


class SummaryWriter:
    """Write scalars; whoever watches a run sees them some seconds later.

    Whoever adds one writes it. tensorboardX's writer of this name has a thread for
    that, which dies in silence where it meets a full disk: its queue fills, and the
    run waits for ever.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        purge_step: int | None = None,
        write_to_disk: bool = True,
    ):
        """Begin a file.

        Args:
          folder: gets it.
          purge_step: what an earlier file has from this step on no longer counts.
          write_to_disk: False: nothing is written.

        Raises:
          OSError: where the disk refuses, as all methods do.
        """
        self._events, self._flushed = None, time.monotonic()
        if not write_to_disk:
            return
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(pathlib.Path(folder) / "events"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._add(step=purge_step, file_version="brain.Event:2")
            self._add(step=purge_step, session_log=start)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Write a value; those of the last seconds may still be in a buffer."""
        self._add(step=step, summary=scalar(name, value))
        if time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write what is in the buffer."""
        self._flushed = time.monotonic()
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Write everything and close the file."""
        if self._events is not None:
            self._events.close()

    def _add(self, **fields: Any) -> None:
        if self._events is not None:
            self._events.write_event(Event(wall_time=time.time(), **fields))


__all__ = ["Event", "SummaryWriter"]
