"""One furnished room in every format: the same question finds the same thing.

A capture is asked twice, the student that comes with the package (geometry alone) and
the fused features of the teachers that come with it; a mesh or a cloud alone once. The
right answer is known by the room's labels, and each answer is compared with that of
plain folders of posed frames, in the room's own world.
"""

import dataclasses
import functools
import sys
import types
import zlib

import colmap_files
import furnished_room
import geometry_files
import numpy as np
import one_room
import phone_files
import pytest
import rgbd_files

from sas_jax import api
from sas_jax.datasets import registry
from sas_jax.errors import WeightsMissing
from sas_jax.lifting.config import ExtractConfig
from sas_jax.text import minilm_files

torch = pytest.importorskip("torch", reason="the teachers need the extra [teachers]")
pytest.importorskip("embreex", reason="the rooms need the extra [rooms]")
try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

from sas_jax.lifting.extract import extract_scene  # noqa: E402
from sas_jax.teachers import registry as teachers  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What stands there once. Of eight small frames the teachers are sure of the bed alone:
# for the desk, another region's mean is as high, and JPEG decides.
QUESTIONS = {
    "student": {"a bed": "bed", "a desk": "desk"},
    "images": {"a bed": "bed"},
}
TURNED = one_room.turned(0, 50) @ one_room.turned(2, 30, (1, 2, 3))


@dataclasses.dataclass(frozen=True)
class Within:
    """How far an answer may be from that of posed frames.

    Attributes:
      center_m: of the region, metres.
      iou: of the cells of 10 cm that it lies in, at least.
      inside: share of its points in the thing's box, at least.
      scale: of the world, relative.
    """

    center_m: float
    iou: float
    inside: float = 0.9
    scale: float = 1e-3


# All that these lose is by JPEG and whole millimetres.
CLOSE = Within(center_m=0.05, iou=0.9)
# Made from four times as many frames, so more of each thing is there.
MESH = Within(center_m=0.3, iou=0.5)
# A fifth of the points, so regions fall into parts of a thing; and the unit is guessed
# from how high cameras are held.
SPARSE = Within(center_m=0.4, iou=0.0, scale=0.2)


def _colmap(binary, folder, frames):
    """A model in a world of its own: turned, moved, and of no unit."""
    points = colmap_files.tracked_points(frames, frames[0].intrinsics, step=3)
    colmap_files.write_colmap(
        folder, binary, frames=frames, world=TURNED, scale=0.37, points=points
    )
    return folder, frames


CAPTURES = {
    "posed_rgbd": (rgbd_files.as_posed_rgbd, CLOSE),
    "tum": (rgbd_files.as_tum, CLOSE),
    "sens": (rgbd_files.as_sens, CLOSE),
    "seven_scenes": (rgbd_files.as_seven_scenes, CLOSE),
    "open3d": (rgbd_files.as_open3d, CLOSE),
    "nice_slam": (rgbd_files.as_nice_slam, CLOSE),
    "arkitscenes": (rgbd_files.as_arkitscenes, CLOSE),
    "nerfstudio": (phone_files.as_nerfstudio, CLOSE),
    "polycam": (phone_files.as_polycam, CLOSE),
    "stray": (phone_files.as_stray, CLOSE),
    "record3d": (
        lambda folder, frames: phone_files.as_record3d(folder, zlib.compress, frames),
        CLOSE,
    ),
    "colmap text": (functools.partial(_colmap, False), SPARSE),
    "colmap binary": (functools.partial(_colmap, True), SPARSE),
}
GEOMETRY = (".ply", ".obj", ".glb", ".stl", ".pcd", ".xyz", ".las")


@pytest.fixture(scope="module", autouse=True)
def _lzfse():
    """What decompresses depth of Record3D is a package that not all have."""
    with pytest.MonkeyPatch.context() as patch:
        module = types.SimpleNamespace(decompress=zlib.decompress, error=zlib.error)
        patch.setitem(sys.modules, "lzfse", module)
        yield


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The labelled mesh of the room."""
    return furnished_room.write_room(tmp_path_factory.mktemp("room") / "scans" / "room")


@pytest.fixture(scope="module")
def frames(room):
    return furnished_room.pictures(room)


@pytest.fixture(scope="module")
def boxes(room):
    asked = QUESTIONS["student"].items()
    return {text: furnished_room.box_of(room, name) for text, name in asked}


@pytest.fixture(scope="module")
def student():
    return api.load_student("rooms")


@pytest.fixture(scope="module")
def by_images():
    """Return the mean of the teachers' features of every other frame."""
    torch.set_num_threads(1)
    models = {name: teachers.load(name) for name in ("rooms-dense", "rooms-mask")}
    config = ExtractConfig(frame_stride=2, image_size_wh=None)

    def fused(scene):
        found = extract_scene(scene, list(models.values()), config)
        return api.fuse(dict(zip(models, found, strict=True)))

    return fused


@pytest.fixture(scope="module")
def answers(student, by_images):
    """Return what student and images answer on a capture."""

    def asked(path, frames, within):
        scene = registry.scan_at(path).open()
        poses = [frame.world_from_camera for frame in scene.frames()]
        assert scene.skipped == {}
        # Coordinates as users see them: the far origin of a world is part of them.
        for pose in poses:
            pose[:3, 3] += scene.origin
        world = furnished_room.similarity(poses, [frame.pose for frame in frames])
        assert abs(np.log(world.scale)) < within.scale
        return {
            who: furnished_room.ask(scene, features(scene), QUESTIONS[who], world)
            for who, features in (
                ("student", lambda scene: student.features(scene.points)),
                ("images", by_images),
            )
        }

    return asked


@pytest.fixture(scope="module")
def expected(answers, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected") / "room"
    return answers(*rgbd_files.as_posed_rgbd(folder, frames), CLOSE)


def check(found, expected, boxes, within):
    for text, answer in found.items():
        off = np.abs(answer.center_m - expected[text].center_m).max()
        share, iou = answer.share_in(boxes[text]), answer.iou(expected[text])
        told = f"{text}: {off:.3f} m off, {share:.2f} inside, IoU {iou:.2f}"
        assert share >= within.inside and off <= within.center_m, told
        assert iou >= within.iou, told


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_finds_the_same_things(
    tmp_path, name, answers, expected, frames, boxes
):
    write, within = CAPTURES[name]
    path, written = write(tmp_path / "all" / "room", frames)
    assert registry.scan_at(path).dataset.name == name.split()[0]
    found = answers(path, written, within)
    for who, answer in found.items():
        check(answer, expected[who], boxes, within)


@pytest.mark.parametrize("suffix", GEOMETRY)
def test_a_mesh_or_cloud_finds_the_same_things(
    tmp_path, suffix, student, room, expected, boxes
):
    points, colors = room.points, room.colors
    stored = points @ geometry_files.Y_UP.T if suffix == ".glb" else points
    path = tmp_path / f"room{suffix}"
    geometry_files.write_room(path, stored, colors, room.faces)
    scene = registry.scan_at(path).open()
    features = student.features(scene.points)
    found = furnished_room.ask(scene, features, QUESTIONS["student"])
    check(found, expected["student"], boxes, MESH)
