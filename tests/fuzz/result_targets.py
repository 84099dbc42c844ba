"""What is fuzzed of results: files of our stages, and those that others publish."""

import pathlib

import numpy as np

from sas_jax.artefacts import released, torch_write
from sas_jax.artefacts.space import TextSpace
from sas_jax.capability import store
from sas_jax.instances import files as instance_files
from sas_jax.instances import released as released_masks
from sas_jax.instances import submission
from sas_jax.instances.masks import Instances
from sas_jax.scenes.labels import label_set

SPACE = TextSpace("letters", "0123456789abcdef" * 4, 4)
_POINTS = 12
_TABLE = store.CapabilityTable(
    teacher="letters",
    space=SPACE,
    classes=("wall", "chair"),
    miou=np.array([0.5, 0.25]),
    measured=np.array([True, False]),
    images_per_class=3,
    facts={"seed": 1},
)


def _masks() -> Instances:
    masks = np.arange(_POINTS) // 4 == np.arange(3)[:, None]
    return Instances(
        np.packbits(masks, axis=1),
        _POINTS,
        np.array([0.9, 0.5, 0.1], np.float32),
        np.array([0, 4, 7], np.int32),
        label_set("scannet20").classes.names,
    )


def _class_images(folder: pathlib.Path) -> None:
    size = (2, 6, 6)
    entry = store.ClassImages(
        name="chair",
        prompt="a chair",
        images=np.zeros((*size, 3), np.uint8),
        attention=np.zeros(size, np.float32),
        coarse=np.zeros(size, bool),
        refined=np.zeros(size, bool),
        key="k",
    )
    store.write_images(folder, entry)


def _submission(folder: pathlib.Path) -> None:
    submission.write_submission(folder, "room", _masks(), label_set("scannet20"))


def _torch(content):
    return lambda path: torch_write.write_torch(path, content)


_PARTS = {"feat": np.ones((5, 4), np.float16), "mask_full": np.arange(_POINTS) < 5}

FILES = (
    (
        "capability/letters.json",
        lambda path: store.write_table(path.parent, _TABLE, "k"),
        store.read_table,
    ),
    (
        "masks.safetensors",
        lambda path: store.write_masks(path, np.zeros((2, 6, 6), np.int16), "k"),
        store.read_masks,
    ),
    (
        "instances.npz",
        lambda path: instance_files.save_instances(path, _masks(), key="k"),
        instance_files.load_instances,
    ),
    (
        "room_masks.pt",
        _torch(np.ones((_POINTS, 3), np.float16)),
        lambda path: released_masks.read_masks(path, _POINTS),
    ),
    (
        "room_0.pt",
        _torch(_PARTS),
        lambda path: released.read_features([path], _POINTS, lambda _: SPACE),
    ),
    (
        "room.pth",
        _torch(np.arange(_POINTS)),
        lambda path: released.read_superpoints(path, _POINTS),
    ),
    (
        "vocabulary_embedding.pth",
        _torch(np.eye(4, dtype=np.float32)[:3]),
        lambda path: released.read_texts(path, 3, SPACE),
    ),
    (
        "lseg_miou.npy",
        lambda path: np.save(path, np.linspace(0, 1, 5)),
        lambda path: released.read_capability(path, 5),
    ),
)
"""Path, what writes a whole file there, what reads it."""

FOLDERS = (
    ("class_images", _class_images, lambda folder: store.read_images(folder, "chair")),
    (
        "submission",
        _submission,
        lambda folder: submission.read_submission(
            folder, "room", _POINTS, label_set("scannet20")
        ),
    ),
)
