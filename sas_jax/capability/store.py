"""What capability leaves on disk: images with masks per class, one table per teacher.

Under the workspace's `capability/`: `images/<class>.safetensors` (made once, for all
teachers) with a picture sheet `images/<class>.png`; `masks/<teacher>/<class>...` the
teacher's class map; `<teacher>.json` the table. While a class is being painted its
images lie in `images/<class>/<seed>.safetensors`. Each part carries the content key of
what it was made from, so that a run that was stopped goes on with the next image.
"""

import dataclasses
import pathlib
import shutil

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.artefacts import files
from sas_jax.artefacts.space import TextSpace

IMAGES_SCHEMA = "sas_jax.capability_images/1"
MASKS_SCHEMA = "sas_jax.capability_masks/1"
TABLE_SCHEMA = "sas_jax.capability/2"
QUALITY_SCHEMA = "sas_jax.pseudo_mask_quality/1"


@dataclasses.dataclass(frozen=True)
class ClassImages:
    """Synthesized images of one class and their masks.

    Attributes:
      name: class.
      prompt: text that the images were made from.
      images: uint8 [m, S, S, 3].
      attention: float32 [m, S, S] in [0, 1].
      coarse: [m, S, S], the thresholded attention.
      refined: [m, S, S], the pseudo masks.
      key: content key of all this.
    """

    name: str
    prompt: str
    images: UInt8[np.ndarray, "m S S 3"]
    attention: Float[np.ndarray, "m S S"]
    coarse: Bool[np.ndarray, "m S S"]
    refined: Bool[np.ndarray, "m S S"]
    key: str


@dataclasses.dataclass(frozen=True)
class CapabilityTable:
    """Capability of one teacher.

    Attributes:
      teacher: name.
      space: text space in which its pixels or labels were compared with the classes.
      classes: vocabulary in order.
      miou: float64 [K], S_t; 0 for classes without images.
      measured: [K], whether the class has images.
      images_per_class: m.
      facts: models, weights and settings, for the report.
    """

    teacher: str
    space: TextSpace
    classes: tuple[str, ...]
    miou: Float[np.ndarray, " K"]
    measured: Bool[np.ndarray, " K"]
    images_per_class: int
    facts: dict


def file_name(class_name: str) -> str:
    """Return a class's name as a file stem."""
    return class_name.replace(" ", "_").replace("/", "_")


def images_path(
    folder: files.PathLike, class_name: str, seed: int | None = None
) -> pathlib.Path:
    """Return where the images of a class lie.

    Args:
      folder: the workspace's `capability` folder.
      class_name: of the images.
      seed: of the first of some images of a class that is being painted; None is the
        whole class.
    """
    stem = pathlib.Path(folder) / "images" / file_name(class_name)
    name = stem if seed is None else stem / str(seed)
    return name.with_name(f"{name.name}.safetensors")


def masks_path(folder: files.PathLike, teacher: str, class_name: str) -> pathlib.Path:
    """Return where a teacher's class maps for the images of a class lie."""
    stem = f"{file_name(class_name)}.safetensors"
    return pathlib.Path(folder) / "masks" / teacher / stem


def table_path(folder: files.PathLike, teacher: str) -> pathlib.Path:
    """Return where a teacher's table lies."""
    return pathlib.Path(folder) / f"{teacher}.json"


def quality_path(folder: files.PathLike) -> pathlib.Path:
    """Return where a judge's scores of the pseudo masks lie."""
    return pathlib.Path(folder) / "quality.json"


def write_images(
    folder: files.PathLike, entry: ClassImages, seed: int | None = None
) -> None:
    """Write images and masks of one class; arguments as `images_path`."""
    tensors = {
        "images": entry.images,
        "attention": entry.attention.astype(np.float16),
        "coarse": entry.coarse.astype(np.uint8),
        "refined": entry.refined.astype(np.uint8),
    }
    files.write_tensors(
        images_path(folder, entry.name, seed),
        tensors,
        key=entry.key,
        schema=IMAGES_SCHEMA,
        meta={"class": entry.name, "prompt": entry.prompt},
    )


def read_images(
    folder: files.PathLike, class_name: str, seed: int | None = None
) -> ClassImages:
    """Read what `write_images` wrote; raises like `files.read_tensors`."""
    path = images_path(folder, class_name, seed)
    tensors, meta = files.read_tensors(path, schema=IMAGES_SCHEMA)
    return ClassImages(
        name=meta["class"],
        prompt=meta["prompt"],
        images=tensors["images"],
        attention=tensors["attention"].astype(np.float32),
        coarse=tensors["coarse"].astype(bool),
        refined=tensors["refined"].astype(bool),
        key=meta["key"],
    )


def remove_parts(folder: files.PathLike, class_name: str) -> None:
    """Remove the images of a class that were kept while it was being painted."""
    whole = pathlib.Path(images_path(folder, class_name))
    shutil.rmtree(whole.with_suffix(""), ignore_errors=True)


def write_masks(
    path: files.PathLike, classes: Int[np.ndarray, "m S S"], key: str
) -> None:
    """Write a teacher's class maps for the images of one class."""
    files.write_tensors(path, {"classes": classes}, key=key, schema=MASKS_SCHEMA)


def read_masks(path: files.PathLike) -> Int[np.ndarray, "m S S"]:
    """Read what `write_masks` wrote; raises like `files.read_tensors`."""
    return files.read_tensors(path, schema=MASKS_SCHEMA)[0]["classes"]


def write_table(folder: files.PathLike, table: CapabilityTable, key: str) -> None:
    """Write a teacher's capability as JSON."""
    data = {
        "teacher": table.teacher,
        "text_space": table.space.id,
        "classes": list(table.classes),
        "miou": dict(zip(table.classes, map(float, table.miou), strict=True)),
        "measured": [
            name for name, has in zip(table.classes, table.measured, strict=True) if has
        ],
        "images_per_class": table.images_per_class,
        "facts": table.facts,
    }
    path = table_path(folder, table.teacher)
    files.write_json(path, data, key=key, schema=TABLE_SCHEMA)


def read_table(path: files.PathLike) -> CapabilityTable:
    """Read what `write_table` wrote; raises like `files.read_json`."""
    data = files.read_json(path, schema=TABLE_SCHEMA)
    classes = tuple(data["classes"])
    return CapabilityTable(
        teacher=data["teacher"],
        space=TextSpace.parse(data.get("text_space"), path),
        classes=classes,
        miou=np.array([data["miou"][name] for name in classes], np.float64),
        measured=np.isin(classes, data["measured"]),
        images_per_class=int(data["images_per_class"]),
        facts=data["facts"],
    )
