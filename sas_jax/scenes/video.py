"""Frames of a video by their number, without decoding it from its beginning each time.

A frame is decoded from the key frame before it; frames that are asked for in order go
on from where the last one was. One video is kept open per process.
"""

import functools
import pathlib
from typing import Any

import numpy as np
from jaxtyping import UInt8

from sas_jax.errors import InputError
from sas_jax.extras import install_command

_MOST_PIXELS = 1 << 26
_NEAR = 30  # frames between key frames, about


def read_video_frame(path: pathlib.Path, number: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return a frame of a video as sRGB, its pixels as they are stored.

    Args:
      path: of the video.
      number: of the frame, in the order of display, from 0.

    Raises:
      InputError: without the package that decodes, for a damaged video, and for a
        number beyond its last frame.
    """
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _video(path, stamp).read(number)


@functools.lru_cache(maxsize=1)
def _video(path: pathlib.Path, stamp: int) -> "_Video":
    return _Video(path)


class _Video:
    def __init__(self, path: pathlib.Path) -> None:
        try:
            import av
        except ImportError as error:
            raise InputError(
                f"video: the package av is required to decode it, got none ({path}). "
                f"Install it: {install_command('phones')}"
            ) from error
        self._path, self._errors = path, (av.FFmpegError, ValueError, IndexError)
        try:
            self._file: Any = av.open(str(path))
            self._stream = self._file.streams.video[0]
            self._stream.thread_type = "AUTO"
            if self._stream.width * self._stream.height > _MOST_PIXELS:
                raise ValueError(f"{self._stream.width} x {self._stream.height} pixels")
            # Times of all frames, from the packets alone: seconds for an hour.
            packets = self._file.demux(self._stream)
            self._times = sorted(p.pts for p in packets if p.pts is not None)
        except (*self._errors, OSError) as error:
            raise self._damaged(error) from error
        self._frames: Any = None
        self._next = len(self._times)

    def read(self, number: int) -> UInt8[np.ndarray, "H W 3"]:
        if not 0 <= number < len(self._times):
            raise InputError(
                f"video: frame {number} is required, got {len(self._times)} frames "
                f"({self._path}). Copy the recording again."
            )
        time = self._times[number]
        try:
            # Far ahead, a key frame is nearer than the last frame.
            if not self._next <= number < self._next + _NEAR:
                self._file.seek(time, stream=self._stream)
                self._frames = self._file.decode(self._stream)
            for frame in self._frames:
                if frame.pts is not None and frame.pts >= time:
                    self._next = number + 1
                    return frame.to_ndarray(format="rgb24")
            raise ValueError("no such frame")
        except self._errors as error:
            self._next = len(self._times)
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"video: one that can be decoded is required, got {error} ({self._path}). "
            "Copy the recording again."
        )
