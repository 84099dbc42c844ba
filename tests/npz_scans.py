"""A third data set, as a stranger adds one: this file, and a line in the registry."""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np

from sas_jax.classes import Vocabulary
from sas_jax.datasets.contracts import Dataset
from sas_jax.scenes.labels import LabelSet
from sas_jax.scenes.scene import Frame, Scene

CLASSES = Vocabulary("walls2", ("red wall", "blue wall"))
PALETTE = np.array([[200, 30, 30], [30, 30, 200]], np.uint8)


@dataclasses.dataclass(frozen=True)
class OneFrame:
    """The only frame of a scan."""

    path: pathlib.Path
    names: tuple[str, ...] = ("0",)

    def read(self, name):
        keys = "rgb", "depth_m", "intrinsics", "world_from_camera"
        return Frame(name, *map(np.load(self.path).__getitem__, keys))


@dataclasses.dataclass(frozen=True)
class NpzScans(Dataset):
    """Arrays of points, normals, colours, labels and one frame."""

    name: ClassVar = "npz"
    layout: ClassVar = "<split>_<number>.npz"
    label_sets: ClassVar = (LabelSet(CLASSES, PALETTE),)

    def is_root(self, root):
        return any(root.glob("*.npz"))

    def is_scan(self, path):
        return path.suffix == ".npz"

    def scan_names(self, root, split):
        return sorted(path.stem for path in root.glob(f"{split}_*.npz"))

    def scan_path(self, root, name):
        return root / f"{name}.npz"

    def files(self, path, part, frame_stride, memo):
        return [path]

    def open(self, path, *, image_size_wh=None, label_set=None, annotations=True):
        data, keys = np.load(path), ("points", "normals", "colors", "labels")
        arrays = {key: data[key] for key in keys if annotations or key != "labels"}
        arrays |= {"label_set": label_set or self.label_sets[0]}
        return Scene(path.stem, frame_source=OneFrame(path), **arrays)

    def has_labels(self, path):
        return "labels" in np.load(path)
