"""TensorBoard's event files, written and read without loading torch.

tensorboardX imports torch where it is installed, for tensors that nobody here passes;
that takes seconds and half a gigabyte of a process that runs JAX.
"""

import sys
from typing import Any

_loaded = "torch" in sys.modules
if not _loaded:
    # An import of it fails, which tensorboardX allows for. The stub knows no None.
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    import tensorboardX
    from tensorboardX.proto.event_pb2 import Event
finally:
    if not _loaded:
        del sys.modules["torch"]

_FLUSH_S = 5


class SummaryWriter(tensorboardX.SummaryWriter):
    """Write scalars; whoever watches a run sees them some seconds later."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"flush_secs": _FLUSH_S, **settings})


__all__ = ["Event", "SummaryWriter"]
