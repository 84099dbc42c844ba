"""Run a SavedModel of OpenSeg behind pipes: an encoded image in, its features out.

A script for another interpreter, the one that has TensorFlow: it imports nothing of
this package and keeps to Python 3.8. `random:<seed>` in place of the SavedModel's
folder stands for a function of its signature in numpy and Pillow that knows nothing.

Both directions carry frames: one byte for the kind, eight for the length (little
endian), the content. In: `q`, an encoded PNG or JPEG. Out: `r`, ready, with words for
what computes; `f`, features as npy; `e`, an error in words. The worker ends when its
input does.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import struct
import sys
import threading

import numpy as np

VERSION = 1
"""Raised when its numbers change; see `artefacts.versions`."""

CHANNELS = 768
HEADER = struct.Struct("<cQ")
_RANDOM_SIDE = 64
_INPUTS = {"inp_image_bytes", "inp_text_emb"}
_OUTPUTS = {"image_info", "ppixel_ave_feat"}


def crop(info, grid):
    """Return the part of a padded feature grid that the image covers.

    Args:
      info: f32 [4, 2]: size of the image, size that it is padded to, scale, offset,
        each (vertical, horizontal).
      grid: [1, h, w, C], of the padded image.

    Returns:
      [h', w', C]; h' = trunc(size * scale) in f32, as the published extraction does.

    Raises:
      ValueError: when nothing is left, or more is asked for than there is.
    """
    info = np.asarray(info, np.float32)
    height, width = (int(edge) for edge in info[0] * info[2])
    if not (0 < height <= grid.shape[1] and 0 < width <= grid.shape[2]):
        raise ValueError(
            f"image_info must ask for a part of the grid {list(grid.shape[1:3])}, got "
            f"{[height, width]}"
        )
    return grid[0, :height, :width]


def answer(model, image):
    """Return f16 [h', w', 768] for the bytes of an encoded image.

    Args:
      model: bytes -> mapping with `image_info` and `ppixel_ave_feat`.
      image: of PNG or JPEG.

    Raises:
      ValueError: for outputs of other shapes.
    """
    outputs = model(image)
    grid = np.asarray(outputs["ppixel_ave_feat"])
    if grid.ndim != 4 or grid.shape[0] != 1 or grid.shape[3] != CHANNELS:
        raise ValueError(
            f"ppixel_ave_feat must be [1, h, w, {CHANNELS}], got {list(grid.shape)}"
        )
    info = np.asarray(outputs["image_info"])
    if info.shape != (4, 2):
        raise ValueError(f"image_info must be [4, 2], got {list(info.shape)}")
    return crop(info, grid).astype(np.float16)


def open_saved_model(path):
    """Return a SavedModel as the function that `answer` takes, and what runs it.

    Raises:
      ValueError: for another signature.
      ImportError: without TensorFlow.
    """
    import tensorflow

    for gpu in tensorflow.config.list_physical_devices("GPU"):
        # Otherwise all of its memory is taken at once, from other teachers too.
        tensorflow.config.experimental.set_memory_growth(gpu, True)
    loaded = tensorflow.saved_model.load(path, tags=["serve"])
    signature = loaded.signatures["serving_default"]
    inputs = set(signature.structured_input_signature[1])
    outputs = set(signature.structured_outputs)
    if inputs != _INPUTS or not outputs >= _OUTPUTS:
        raise ValueError(
            f"the SavedModel must map {sorted(_INPUTS)} to {sorted(_OUTPUTS)}, got "
            f"{sorted(inputs)} to {sorted(outputs)}"
        )
    no_text = tensorflow.zeros([1, 1, CHANNELS])

    def run(image):
        # `loaded` is named so that its variables outlive this call.
        return loaded and signature(
            inp_image_bytes=tensorflow.constant(image), inp_text_emb=no_text
        )

    return run, "tensorflow " + tensorflow.__version__


def open_random(seed):
    """Return a function of OpenSeg's signature: mean colours through a random layer.

    And what runs it, as `open_saved_model`.
    """
    from PIL import Image

    random = np.random.default_rng(seed)
    weight = random.normal(size=(3, CHANNELS)).astype(np.float32)
    bias = random.normal(size=CHANNELS).astype(np.float32)

    def run(image):
        picture = Image.open(io.BytesIO(image)).convert("RGB")
        size = np.array(picture.size[::-1], np.float32)
        scale = np.float32(_RANDOM_SIDE / size.max())
        edges = np.maximum(np.rint(size * scale), 1).astype(int)
        small = picture.resize((edges[1], edges[0]), Image.Resampling.BOX)
        padded = np.zeros((1, _RANDOM_SIDE, _RANDOM_SIDE, 3), np.float32)
        padded[0, : edges[0], : edges[1]] = np.asarray(small, np.float32) / 255
        # einsum does not ask BLAS, whose sums follow from the number of threads
        grid = np.tanh(np.einsum("bhwc,cd->bhwd", padded, weight) + bias)
        # Half a cell more, so that the product is truncated to these edges.
        info = [size, [_RANDOM_SIDE] * 2, (edges + 0.5) / size, [0, 0]]
        return {
            "image_info": np.array(info, np.float32),
            "image_embedding_feat": grid,
            "ppixel_ave_feat": grid,
        }

    return run, "numpy"


def serve(make, source, sink):
    """Answer frames until the input ends.

    Args:
      make: returns the model, and in words what runs it; called once.
      source: binary file to read frames from.
      sink: binary file to write frames to.
    """
    images: queue.Queue[bytes] = queue.Queue()

    def read():
        # Beside the model, which may compute for minutes: whoever started this process
        # may be gone, and then it must not live on.
        with contextlib.suppress(BaseException):
            while True:
                header = source.read(HEADER.size)
                if len(header) < HEADER.size:
                    break
                images.put(source.read(HEADER.unpack(header)[1]))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()

    def ready():
        model, words = make()
        return model, words.encode()

    model = _tried(sink, b"r", ready)
    while model:
        image = images.get()
        _tried(sink, b"f", lambda image=image: (True, _npy(answer(model, image))))


def _tried(sink, kind, work):
    """Write a frame with what a function returns, or with its error.

    Args:
      sink: to write to.
      kind: of the frame.
      work: returns what is returned here too, None after an error, and the content.
    """
    try:
        result, content = work()
    except Exception as error:
        result, kind = None, b"e"
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # TensorFlow begins with a heading and ends with what was wrong.
        words = " ".join(lines[:1] + lines[1:][-2:])
        content = f"{type(error).__name__}: {words}".encode()
    sink.write(HEADER.pack(kind, len(content)))
    sink.write(content)
    sink.flush()
    return result


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def main():
    """Serve on the standard pipes; what libraries print goes to standard error."""
    # The script's own folder must hide no module of the other environment.
    del sys.path[0]
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    what = sys.argv[1]
    seed = what[len("random:") :] if what.startswith("random:") else None
    serve(
        lambda: open_saved_model(what) if seed is None else open_random(int(seed)),
        sys.stdin.buffer,
        sink,
    )


if __name__ == "__main__":
    main()
