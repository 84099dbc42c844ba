"""TensorBoard's event files, written and read without loading torch.

tensorboardX imports torch where it is installed, for tensors that nobody here passes;
that takes seconds and half a gigabyte of a process that runs JAX.
"""

import sys

_loaded = "torch" in sys.modules
if not _loaded:
    sys.modules["torch"] = None  # an import of it fails, which tensorboardX allows for
try:
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.event_pb2 import Event
finally:
    if not _loaded:
        del sys.modules["torch"]

__all__ = ["Event", "SummaryWriter"]
