"""TensorBoard's event files, written and read without loading torch.

tensorboardX imports torch where it is installed, for tensors that nobody here passes;
that takes seconds and half a gigabyte of a process that runs JAX.
"""

import sys

_loaded = "torch" in sys.modules
if not _loaded:
    # An import of it fails, which tensorboardX allows for. The stub knows no None.
    sys.modules["torch"] = None  # type: ignore[assignment]
try:
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.event_pb2 import Event
finally:
    if not _loaded:
        del sys.modules["torch"]

__all__ = ["Event", "SummaryWriter"]
