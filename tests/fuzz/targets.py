"""What is fuzzed: folders of small whole files, and what reads them.

A target writes its files into an empty folder; `read` reads all of them. Files are
those that the readers' tests make, so a new format is a line here.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import colmap_files
import geometry_files
import layout_files
import numpy as np
import one_room
import outdoor_files
import phone_files
import rgbd_files
import scene_files
from fuzz import result_targets
from PIL import Image

from sas_jax.artefacts import features, files, superpoints, torch_files, torch_write
from sas_jax.datasets import colmap_model, registry
from sas_jax.datasets.contracts import Scan
from sas_jax.distill import checkpoint_files
from sas_jax.gaussians.files import formats
from sas_jax.models.student_file import read_student
from sas_jax.scenes import camera_files, depth_files, images, mesh_files

GAUSSIANS = pathlib.Path(__file__).parents[1] / "golden/small/gaussians/formats"
# Larger files are cut: every mutation is then near to what counts.
MOST_BYTES = 60_000
SPACE = result_targets.SPACE


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader: `write` makes whole files in a folder, `read` reads them."""

    name: str
    write: Callable[[pathlib.Path], object]
    read: Callable[[pathlib.Path], object]


def _one(name, write, read):
    """Return a target of one file, in a folder of its own where the name has one."""

    def write_there(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        write(folder / name)

    return Target(name.replace("/", "-"), write_there, lambda f: read(f / name))


def _mesh(suffix):
    def write(path):
        points, colors, faces = _room()
        geometry_files.write_room(path, points, colors, faces)

    return _one(f"mesh{suffix}", write, mesh_files.read_mesh)


def _room():
    points = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    colors = np.arange(72).reshape(24, 3).astype(np.uint8)
    return points, colors, np.arange(24).reshape(8, 3).astype(np.int32)


def _golden_splats(name):
    def write(path):
        path.write_bytes((GAUSSIANS / name).read_bytes()[:MOST_BYTES])

    return _one(name, write, formats.read_splats)


def _gsplat(path):
    one = formats.read_splats(GAUSSIANS / "sample_v3.spz")
    columns = {
        "means": one.means,
        "scales": np.log(one.scales),
        "quats": one.rotations,
        "opacities": np.log(one.opacities / (1 - one.opacities)),
        "sh0": one.sh[:, :1],
        "shN": one.sh[:, 1:],
    }
    columns = {name: column[:5] for name, column in columns.items()}
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        torch_write.write_torch(path, {"step": 3, "splats": columns})


def _image(mode, size=(12, 9), **how):
    def write(path):
        shape = size[::-1] if mode == "I;16" else (*size[::-1], 3)
        pixels = np.arange(np.prod(shape)).reshape(shape) % 250
        kind = np.uint16 if mode == "I;16" else np.uint8
        Image.fromarray(pixels.astype(kind)).save(path, **how)

    return write


def _exr(path):
    import OpenEXR

    head = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(head, {"Z": np.ones((5, 4), np.float32)}) as file:
        file.write(str(path))


def _record3d(folder):
    import lzfse

    phone_files.as_record3d(folder, lzfse.compress)


def _stray_video(folder):
    _, frames = phone_files.as_stray(folder, images=False)
    phone_files.write_video(folder / "rgb.mp4", [frame.rgb for frame in frames])


def _depth(path):
    return depth_files.read_depth(path, 1000.0)


def _matrix(path):
    return camera_files.read_npy(path, "matrix")


def _features(path):
    rows = np.ones((3, 4), np.float16)
    found = features.Features(
        rows, np.array([0, 1, 2, -1], np.int32), np.ones(3, np.int32), SPACE, "point"
    )
    features.save_features(path, found, key="k")


def _checkpoint(folder):
    step = folder / "7"
    for item in ("state", "text", "run", "history"):
        (step / item).mkdir(parents=True)
        (step / item / "metadata").write_text(json.dumps({"text_space": SPACE.id}))
    items = dict.fromkeys(("state", "text", "run", "history"), "x")
    facts = {"item_handlers": items, "commit_timestamp_nsecs": 5}
    (step / "_CHECKPOINT_METADATA").write_text(json.dumps(facts))


def _read_checkpoint(folder):
    for step in checkpoint_files.complete_steps(folder):
        checkpoint_files.text_space_of(folder, step)


def _scan(name, write):
    """Return a target of the folder of a scan, whatever files it has."""
    return Target(name, lambda folder: write(folder / "room"), _read_scan)


def _read_scan(folder):
    scan = registry.scan_at(next(folder.iterdir()))
    scan.key("views")
    scene = scan.open()
    for _ in scene.frames():
        pass


def _read_data_set(folder, split="val"):
    found = registry.of_root(folder)
    names = found.scan_names(folder, split)
    if not names:
        return
    scene = Scan(found, names[0], found.scan_path(folder, names[0])).open()
    for _ in scene.frames():
        pass


def _rooms_as(name, write):
    """Return a target of a layout that is written from procedural rooms."""
    return Target(
        name,
        lambda folder: write(folder / name),
        lambda folder: _read_data_set(folder / name, "test"),
    )


def _laz(path):
    points, colors, _ = _room()
    path.write_bytes(geometry_files.las(points, colors, compressed=True))


def _torch(path):
    torch_write.write_torch(
        path, {"a": np.arange(6.0), "b": {"c": 1, "d": np.ones(3, np.int32)}}
    )


def _student(path):
    shipped = sorted(pathlib.Path(files.__file__).parents[1].glob("rooms/student/*"))
    source = next(p for p in shipped if p.suffix == ".safetensors")
    path.write_bytes(source.read_bytes()[:MOST_BYTES])  # cut short: its header counts


def _superpoints(path):
    superpoints.save_superpoints(path, np.array([0, 1, 1], np.int32), key="k")


def _read_colmap(folder):
    colmap_model.read_images(folder / "sparse/0")
    colmap_model.read_points(folder / "sparse/0")


def _write_colmap(binary):
    return lambda folder: colmap_files.write_colmap(
        folder, binary=binary, frames=list(one_room.pictures(count=2))
    )


def _text(line):
    return lambda path: path.write_text(line)


_MATRIX = "1 0 0 0.5\n0 1 0 0\n0 0 1 2\n0 0 0 1\n"
_META = '{"fx": 40, "fy": 40, "cx": 32, "cy": 24, "width": 64, "height": 48}'
_LAYOUTS = {
    "posed_rgbd": rgbd_files.as_posed_rgbd,
    "tum": rgbd_files.as_tum,
    "sens": rgbd_files.as_sens,
    "seven_scenes": rgbd_files.as_seven_scenes,
    "open3d": rgbd_files.as_open3d,
    "scenenn": rgbd_files.as_scenenn,
    "nice_slam": rgbd_files.as_nice_slam,
    "arkitscenes": rgbd_files.as_arkitscenes,
    "nerfstudio": phone_files.as_nerfstudio,
    "polycam": phone_files.as_polycam,
    "stray": phone_files.as_stray,
    "stray_video": _stray_video,
    "record3d": _record3d,
    "record3d_export": phone_files.as_record3d_export,
}
TARGETS = (
    *(_mesh(s) for s in geometry_files.MESHES if s != ".gltf"),
    *(_mesh(s) for s in geometry_files.CLOUDS),
    _one("mesh.laz", _laz, mesh_files.read_mesh),
    *(_golden_splats(n) for n in ("3dgs_sh1.ply", "playcanvas_compressed_sh3.ply")),
    *(_golden_splats(name) for name in ("sample_v2.spz", "sample_v3.spz")),
    _one("splats.npz", _gsplat, formats.read_splats),
    _one("splats.pt", _gsplat, formats.read_splats),
    _one("object.pth", _torch, torch_files.read_torch),
    _one("depth.png", _image("I;16"), _depth),
    _one("depth.tiff", _image("I;16"), _depth),
    _one("depth.exr", _exr, _depth),
    _one("depth.npy", lambda p: np.save(p, np.ones((5, 4), np.uint16)), _depth),
    _one("depth.npz", lambda p: np.savez(p, np.ones((5, 4), np.uint16)), _depth),
    _one("color.png", _image("RGB"), images.read_color),
    _one("color.jpg", _image("RGB", exif=scene_files.exif(6)), images.read_color),
    _one("color.webp", _image("RGB"), images.read_color),
    _one("pose.txt", _text(_MATRIX), camera_files.read_pose),
    _one("intrinsic.txt", _text("# 64 x 48\n40 40 32 24\n"), camera_files.read_pinhole),
    _one("intrinsic.json", _text(_META), camera_files.read_pinhole),
    _one(
        "matrix.npy",
        lambda p: np.save(p, np.eye(4)),
        lambda p: camera_files.read_npy(p, "matrix"),
    ),
    _one("features.safetensors", _features, features.load_features),
    _one("superpoints.safetensors", _superpoints, superpoints.load_superpoints),
    _one("student.safetensors", _student, read_student),
    Target("checkpoint", _checkpoint, _read_checkpoint),
    Target("colmap_binary", _write_colmap(True), _read_colmap),
    Target("colmap_text", _write_colmap(False), _read_colmap),
    Target("nuscenes", outdoor_files.write_nuscenes, _read_data_set),
    Target("kitti", outdoor_files.write_kitti, _read_data_set),
    Target("scannet", scene_files.write_scannet, lambda f: _read_scan(f / "scans")),
    *(_scan(name, write) for name, write in _LAYOUTS.items()),
    _rooms_as("matterport", layout_files.as_matterport),
    _rooms_as("replica", layout_files.as_replica),
    *(_one(*file) for file in result_targets.FILES),
    *(Target(*folder) for folder in result_targets.FOLDERS),
)
