"""What a data set is to everything else: scans by name, what they hold, their keys.

A data set is a frozen dataclass in a module of its own, and a line in `registry`. It
says how its folders are recognised and where its scans lie, opens one, and lists the
files that a stage reads; keys, memory and messages follow from that.

Its fields are the settings that the contents of a scan follow from, and part of every
key; a field with `compare=False` decides nothing, e.g. where something is kept. In the
scripts a field has the value of the flag of the same name.
"""

import abc
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32

from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.artefacts.stamps import NO_MEMO, Memo
from sas_jax.artefacts.versions import decided_by, module_of
from sas_jax.errors import InputError
from sas_jax.scenes.labels import LabelSet
from sas_jax.scenes.scene import Scene

Part = Literal["views", "geometry", "labels"]
"""What a stage reads of a scan: points and frames, points and faces, points and labels.
"""


class Dataset(abc.ABC):
    """One layout on disk; see the module.

    Attributes:
      name: in `registry.DATASETS`.
      layout: what a scan and a data set look like on disk, in a line, for errors.
      label_sets: class lists that points are scored by or, without labels, named by;
        the first one counts where none is chosen.
      needs: what must lie in the folder of a scan, as patterns of pathlib's glob; an
        unknown folder is told which layout it is nearest to, and what it lacks.
      gives_way: another data set that knows a place as well is preferred.
    """

    name: ClassVar[str]
    layout: ClassVar[str]
    label_sets: ClassVar[tuple[LabelSet, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    gives_way: ClassVar[bool] = False
    # Declared, not set: every subclass is a dataclass.
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @abc.abstractmethod
    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether a folder holds scans of this layout."""

    @abc.abstractmethod
    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether a folder or file is one scan of this layout."""

    @abc.abstractmethod
    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of the scans of a split, in order.

        Raises:
          InputError: where there is no such split, or one of its scans is missing.
        """

    @abc.abstractmethod
    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return where the scan of a name lies; it need not be there."""

    def scan_name(self, path: pathlib.Path) -> str:
        """Return the name of the scan that lies at a place, which `scan_path` finds.

        Raises:
          InputError: where only tables tell, and they name no such scan.
        """
        return path.stem if path.is_file() else path.name

    @abc.abstractmethod
    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return all files that a part is read from, in an order that stays.

        Args:
          path: of the scan.
          part: what is read.
          frame_stride: views are of every how many-th frame.
          memo: where lists of many files may be remembered.

        Returns:
          Absent ones too where their coming would change what is read. A folder
          stands for whether it is there, not for what it holds.
        """

    def facts(self, path: pathlib.Path, part: Part) -> object:
        """Return what else a part follows from: rows of files that all scans share.

        Args:
          path: of the scan.
          part: what is read.

        Returns:
          Anything that `artefacts.files.canonical` takes; None for nothing.
        """
        return None

    @abc.abstractmethod
    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open a scan: the points now, frames when they are asked for.

        Args:
          path: of the scan.
          image_size_wh: size of the frames, None as they are stored; the points do
            not depend on it.
          label_set: what labels are mapped to; None for the first one.
          annotations: read labels and instances where there are any.

        Raises:
          InputError: for a missing or damaged file, which it names.
        """

    @abc.abstractmethod
    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell whether a scan can be scored."""

    def points(self, path: pathlib.Path) -> Float32[np.ndarray, "P 3"]:
        """Return the points of `open`, metres; quicker where a layout can be."""
        return self.open(path, annotations=False).points

    def label_set(self, name: str | None = None) -> LabelSet:
        """Return one of the label sets by its name, the first one without.

        Raises:
          InputError: for the name of another one, listing those that there are.
        """
        known = {labels.classes.name: labels for labels in self.label_sets}
        if name is None:
            return self.label_sets[0]
        if name not in known:
            raise InputError(
                f"{self.name}: a label set must be one of {', '.join(known)}, got "
                f"{name}. Correct --label_set, or leave it out."
            )
        return known[name]


@dataclasses.dataclass(frozen=True)
class Scan:
    """One scan of a data set, not read yet.

    Attributes:
      dataset: that it belongs to, with its settings.
      name: the scene's, and that of its artefacts; not its file's or folder's where
        that could be another scan's too.
      path: its folder or file.
    """

    dataset: Dataset
    name: str
    path: pathlib.Path

    @property
    def has_labels(self) -> bool:
        """Whether it can be scored."""
        return self.dataset.has_labels(self.path)

    def points(self) -> Float32[np.ndarray, "P 3"]:
        """Return the points that `open` gives; raises like it."""
        with readable(self.dataset.name, self.path):
            return self.dataset.points(self.path)

    def open(
        self,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open it; see `Dataset.open`. The scene has this scan's name."""
        with readable(self.dataset.name, self.path):
            scene = self.dataset.open(
                self.path,
                image_size_wh=image_size_wh,
                label_set=label_set,
                annotations=annotations,
            )
        if scene.name == self.name:
            return scene
        return dataclasses.replace(scene, name=self.name)

    def key(self, part: Part, *, frame_stride: int = 1, memo: Memo = NO_MEMO) -> str:
        """Return the content key of a part: of the files that it is read from.

        A scan holds gigabytes of frames, of which every 20th is used, and files of no
        concern: a key of everything would read it all and change with any of it. 1 GB
        of frames takes about a second to hash.

        Args:
          part: what is read.
          frame_stride: views are of every how many-th frame.
          memo: where checksums are remembered, with the stamps of their files.
        """
        kind = f"{self.name}/{self.dataset.name}-{part}{frame_stride}"
        with readable(self.dataset.name, self.path):
            paths = self.dataset.files(self.path, part, frame_stride, memo)
            sums = memo.value(kind, paths, lambda: self._sums(paths))
        fields = dataclasses.fields(self.dataset)
        settings = {f.name: getattr(self.dataset, f.name) for f in fields if f.compare}
        read_by = decided_by(__name__, module_of(self.dataset))
        facts = self.dataset.facts(self.path, part)
        return content_key([self.dataset.name, sums, settings, read_by, facts])

    def size(self, part: Part, *, frame_stride: int = 1, memo: Memo = NO_MEMO) -> int:
        """Return how many bytes the files of a part have; none of them is read.

        Scans of one data set take time about as they have bytes: of frames, of points.

        Args:
          part: what is read.
          frame_stride: views are of every how many-th frame.
          memo: see `key`.
        """
        with readable(self.dataset.name, self.path):
            paths = self.dataset.files(self.path, part, frame_stride, memo)
            return sum(path.stat().st_size for path in paths if path.is_file())

    def _sums(self, paths: list[pathlib.Path]) -> str:
        return content_key(
            [
                (
                    os.path.relpath(path, self.path.parent),
                    sha256_file(path) if path.is_file() else path.is_dir(),
                )
                for path in paths
            ]
        )


@contextlib.contextmanager
def readable(where: str, path: pathlib.Path) -> Iterator[None]:
    """Say in one line what the system refuses: permissions, names, memory.

    Raises:
      InputError: for an OSError or a MemoryError of what is done inside.
    """
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        raise InputError(
            f"{where}: files that can be read are required, got {said} "
            f"({error.filename or path}). Check the name and its permissions."
        ) from error
    except MemoryError as error:
        raise InputError(
            f"{where}: a scan that fits into memory is required, got one that asks for "
            f"more than is free ({path}). Thin or cut it, or free memory."
        ) from error
