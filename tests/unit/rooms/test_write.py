"""The scan mesh and the files: what is read back is what was rendered."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from room_stage import BLOCK_HIGH, BLOCK_LOW, make_stage, pose_at
from scipy.spatial import cKDTree

from sas_jax.errors import InputError
from sas_jax.rooms.catalogue import NYU40_IDS
from sas_jax.rooms.render.renderer import Renderer
from sas_jax.rooms.scan import refine, write
from sas_jax.rooms.scan import scene as scan
from sas_jax.rooms.scan.camera import camera_path, default_intrinsics
from sas_jax.rooms.scan.config import (
    FIRST_PRETRAINING_SEED,
    RoomsConfig,
    SurfaceConfig,
    WriteConfig,
)
from sas_jax.rooms.scan.sensor import apply_sensor
from sas_jax.rooms.scan.surface import scan_surface
from sas_jax.scenes.ply_elements import read_elements
from sas_jax.scenes.split_edges import split_edges

SIZE_WH = (80, 60)
CONFIG = WriteConfig(
    num_frames=6, size_wh=SIZE_WH, surface=SurfaceConfig(spacing_m=0.08)
)


@pytest.fixture(scope="module")
def stage():
    return make_stage()


@pytest.fixture(scope="module")
def folder(stage, tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "scans" / "room0000_00"
    assert scan.write_scene(stage, path, CONFIG).written
    return path


@pytest.fixture(scope="module")
def streams(stage):
    """Return walk, sensor and noise generators as the writer seeds them."""
    return [
        np.random.default_rng(s)
        for s in np.random.SeedSequence([stage.seed, 7]).spawn(3)
    ]


@pytest.fixture(scope="module")
def expected(stage, streams):
    """Return what the writer must have rendered: poses, frames and the mesh."""
    walk = camera_path(stage, streams[0], 6 * CONFIG.walk_factor)
    renderer, intrinsics = Renderer(stage), default_intrinsics(SIZE_WH)
    poses = walk[:: CONFIG.walk_factor]
    frames = [
        apply_sensor(renderer.render(pose, intrinsics, SIZE_WH), streams[1])
        for pose in poses
    ]
    mesh = scan_surface(
        stage, renderer, walk, intrinsics, SIZE_WH, streams[2], CONFIG.surface
    )
    return poses, frames, mesh


def _ply(path):
    elements = read_elements(path)
    vertex, faces = elements["vertex"], elements["face"]["vertex_indices"]
    assert (faces.counts == 3).all()
    points = np.stack([vertex["x"], vertex["y"], vertex["z"]], 1)
    return vertex, points, faces.values.reshape(-1, 3)


def test_frames_read_back(folder, expected):
    poses, frames, _ = expected
    assert sorted(p.name for p in (folder / "color").iterdir()) == [
        f"{i}.jpg" for i in range(6)
    ]
    for number, (pose, (rgb, depth_m)) in enumerate(zip(poses, frames, strict=True)):
        with Image.open(folder / "color" / f"{number}.jpg") as image:
            color = np.asarray(image)
        assert np.abs(color.astype(float) - rgb).mean() < 6
        with Image.open(folder / "depth" / f"{number}.png") as image:
            millimetres = np.asarray(image)
        assert millimetres.dtype == np.uint16
        np.testing.assert_array_equal(millimetres, np.round(depth_m * 1000))
        stored = np.loadtxt(folder / "pose" / f"{number}.txt")
        np.testing.assert_allclose(stored, pose, atol=1e-8)


def test_camera_files(folder):
    for camera in ("color", "depth"):
        matrix = np.loadtxt(folder / "intrinsic" / f"intrinsic_{camera}.txt")
        assert matrix.shape == (4, 4)
        np.testing.assert_allclose(matrix[:3, :3], default_intrinsics(SIZE_WH), 1e-6)
        extrinsic = np.loadtxt(folder / "intrinsic" / f"extrinsic_{camera}.txt")
        np.testing.assert_array_equal(extrinsic, np.eye(4))
    lines = (folder / "room0000_00.txt").read_text().splitlines()
    entries = dict(line.split(" = ") for line in lines)
    axes = np.array(entries["axisAlignment"].split(), float)
    np.testing.assert_array_equal(axes, np.eye(4).ravel())
    assert entries["colorWidth"] == "80" and entries["depthHeight"] == "60"
    assert float(entries["fx_depth"]) == pytest.approx(288.9 / 4)


def test_mesh_and_annotations_read_back(folder, stage, expected):
    mesh = expected[2]
    vertex, points, faces = _ply(folder / "room0000_00_vh_clean_2.ply")
    assert [*vertex] == ["x", "y", "z", "red", "green", "blue", "alpha"]
    np.testing.assert_array_equal(points, mesh.vertices)
    np.testing.assert_array_equal(faces, mesh.faces)
    colors = np.stack([vertex["red"], vertex["green"], vertex["blue"]], 1)
    np.testing.assert_array_equal(colors, mesh.colors)
    labelled, same_points, _ = _ply(folder / "room0000_00_vh_clean_2.labels.ply")
    np.testing.assert_array_equal(same_points, points)
    assert labelled["label"].dtype == np.uint16
    np.testing.assert_array_equal(labelled["label"], np.array(NYU40_IDS)[mesh.labels])
    path = folder / "room0000_00_vh_clean_2.0.010000.segs.json"
    segments = np.array(json.loads(path.read_bytes())["segIndices"])
    groups = json.loads((folder / "room0000_00.aggregation.json").read_bytes())
    assert len(segments) == len(points)
    seen = 0
    for group, placed in zip(groups["segGroups"], stage.objects, strict=True):
        own = np.isin(segments, group["segments"])
        np.testing.assert_array_equal(own, mesh.instances == placed.instance_id)
        assert group["label"] == placed.class_name
        seen += own.sum()
    assert seen == len(points)


def test_the_byte_order_is_little_endian(folder):
    with open(folder / "room0000_00_vh_clean_2.ply", "rb") as file:
        header = file.read(64).decode("ascii", errors="replace")
    assert header.startswith("ply\nformat binary_little_endian 1.0\n")


def test_back_projected_depth_lies_on_the_mesh(folder):
    _, points, faces = _ply(folder / "room0000_00_vh_clean_2.ply")
    dense = points[faces].mean(1)
    tree = cKDTree(np.concatenate([points, dense]))
    intrinsics = np.loadtxt(folder / "intrinsic" / "intrinsic_depth.txt")
    for number in range(6):
        with Image.open(folder / "depth" / f"{number}.png") as image:
            depth_m = np.asarray(image) / 1000.0
        pose = np.loadtxt(folder / "pose" / f"{number}.txt")
        row, column = np.nonzero(depth_m)
        z = depth_m[row, column]
        x = (column - intrinsics[0, 2]) / intrinsics[0, 0] * z
        y = (row - intrinsics[1, 2]) / intrinsics[1, 1] * z
        world = np.stack([x, y, z], 1) @ pose[:3, :3].T + pose[:3, 3]
        distance = tree.query(world)[0]
        assert np.percentile(distance, 90) < 0.05
        assert np.percentile(distance, 99) < 0.08


def test_mesh_vertices_lie_on_the_surface_of_their_object(stage, expected):
    mesh = expected[2]
    for placed in stage.objects:
        own = mesh.vertices[mesh.instances == placed.instance_id].astype(float)
        low, high = placed.box.astype(float)
        outside = np.maximum(np.maximum(low - own, own - high), 0.0)
        to_side = np.minimum(np.abs(own - low), np.abs(own - high)).min(1)
        distance = np.where(outside.any(1), np.linalg.norm(outside, axis=1), to_side)
        assert len(own) and distance.max() < 3.5 * CONFIG.surface.noise_m
        assert (
            mesh.labels[mesh.instances == placed.instance_id] == placed.class_index
        ).all()


def test_hidden_surfaces_are_missing(expected):
    vertices = expected[2].vertices
    assert not (vertices[:, 2] < -0.02).any()
    assert not (vertices[:, 0] < -0.05).any()
    under = (vertices[:, :2] > np.array(BLOCK_LOW[:2]) + 0.1).all(1)
    under &= (vertices[:, :2] < np.array(BLOCK_HIGH[:2]) - 0.1).all(1)
    assert not (under & (vertices[:, 2] < 0.1)).any()
    assert (under & (vertices[:, 2] > 0.7)).any()


def test_spacing_is_about_what_was_asked_for(stage):
    renderer, intrinsics = Renderer(stage), default_intrinsics((160, 120))
    walk = camera_path(stage, np.random.default_rng(0), 60)
    for spacing in (0.05, 0.1):
        mesh = scan_surface(
            stage,
            renderer,
            walk,
            intrinsics,
            (160, 120),
            np.random.default_rng(0),
            SurfaceConfig(spacing_m=spacing),
        )
        a, b, c = mesh.vertices[mesh.faces.T].astype(float)
        area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
        got = np.sqrt(area / len(mesh.vertices))
        assert 0.6 * spacing < got < 1.4 * spacing


def test_split_edges_keeps_area_and_leaves_no_cracks(stage):
    mesh = stage.joined.mesh
    points, faces, source = split_edges(mesh.vertices.astype(float), mesh.faces, 0.3)
    edge = points[faces] - points[np.roll(faces, 1, 1)]
    assert np.linalg.norm(edge, axis=-1).max() <= 0.3
    a, b, c = points[faces.T]
    areas = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    totals = np.bincount(source, areas, minlength=mesh.num_faces)
    np.testing.assert_allclose(totals, mesh.areas(), rtol=1e-6)
    normal = np.cross(b - a, c - a) / (2 * areas[:, None])
    np.testing.assert_allclose(normal, mesh.normals()[source], atol=1e-5)
    # Closed boxes stay closed: every edge belongs to exactly two faces.
    pairs = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert set(np.unique(pairs, axis=0, return_counts=True)[1]) == {2}


def test_weld_joins_only_different_objects_within_the_radius():
    points = np.array([[0, 0, 0], [0.005, 0, 0], [0.008, 0, 0], [1, 0, 0.0]])
    owner = np.array([1, 1, 4, 4])
    target = refine.weld(points, owner, 0.01)
    np.testing.assert_array_equal(target, [0, 2, 2, 3])
    np.testing.assert_array_equal(refine.weld(points, owner, 0.001), np.arange(4))


def test_fill_and_prune_closes_pinholes_and_drops_crumbs():
    grid = np.arange(36).reshape(6, 6)
    a, b, c, d = (
        grid[i : 5 + i, j : 5 + j].ravel() for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))
    )
    sheet = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    crumb = np.array([[36, 37, 38]])
    faces = np.concatenate([sheet, crumb])
    seen = np.ones(len(faces), bool)
    seen[12] = False
    keep = refine.fill_and_prune(faces, seen, 39, 4)
    assert keep[:-1].all() and not keep[-1]


def test_cameras_that_see_nothing_are_reported(stage):
    pose = pose_at((2.0, 1.5, 2.0), (0.001, 0.0, 1.0))
    with pytest.raises(InputError, match="must see the room"):
        scan_surface(
            stage,
            Renderer(stage),
            pose[None],
            default_intrinsics(SIZE_WH),
            SIZE_WH,
            np.random.default_rng(0),
            CONFIG.surface,
        )


def test_written_twice_gives_the_same_bytes(stage, folder, tmp_path):
    again = tmp_path / "room0000_00"
    scan.write_scene(stage, again, CONFIG)
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert names == sorted(
        p.relative_to(again) for p in again.rglob("*") if p.is_file()
    )
    assert len(names) == 3 * 6 + 4 + 6
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_a_finished_scene_is_skipped_and_other_settings_replace_it(stage, tmp_path):
    path = tmp_path / "room0000_00"
    first = scan.write_scene(stage, path, CONFIG)
    stamp = (path / "color" / "0.jpg").stat().st_mtime_ns
    second = scan.write_scene(stage, path, CONFIG)
    assert first.written and not second.written
    assert (
        second.num_points
        == first.num_points
        == len(_ply(path / "room0000_00_vh_clean_2.ply")[1])
    )
    assert (path / "color" / "0.jpg").stat().st_mtime_ns == stamp
    fewer = WriteConfig(num_frames=2, size_wh=SIZE_WH, surface=CONFIG.surface)
    assert scan.write_scene(stage, path, fewer).written
    assert len(list((path / "color").iterdir())) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["room0000_00"]


def test_a_damaged_or_half_written_scene_is_not_finished(stage, tmp_path, monkeypatch):
    path = tmp_path / "room0000_00"

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scan, "write_annotations", killed)
        with pytest.raises(KeyboardInterrupt):
            scan.write_scene(stage, path, CONFIG)
    assert not path.exists() and not scan.is_finished(path)
    scan.write_scene(stage, path, CONFIG)
    assert scan.is_finished(path)
    target = path / "depth" / "3.png"
    target.write_bytes(target.read_bytes()[:-7])
    assert not scan.is_finished(path)
    assert scan.write_scene(stage, path, CONFIG).written
    target.unlink()
    assert not scan.is_finished(path)
    (path / "manifest.json").write_text("{")
    assert not scan.is_finished(path)


def test_a_full_disk_is_one_clear_line(stage, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scan, "write_mesh", full)
    with pytest.raises(InputError, match="No space left on device"):
        scan.write_scene(stage, tmp_path / "scans" / "a", CONFIG)
    assert list((tmp_path / "scans").iterdir()) == []


SMALL = WriteConfig(
    num_frames=2, size_wh=(32, 24), surface=SurfaceConfig(spacing_m=0.2)
)


def test_a_set_has_splits_and_is_the_same_for_any_number_of_workers(tmp_path):
    config = RoomsConfig(num_train=1, num_val=0, num_test=1, write=SMALL)
    rows = write.write_rooms(tmp_path / "a", config, progress=False)
    assert [row.name for row in rows] == ["room0000_00", "room0001_00"]
    leftover = tmp_path / "a" / "scans" / ".room0000_00.123.tmp"
    leftover.mkdir()
    again = write.write_rooms(tmp_path / "a", config, progress=False)
    assert not any(row.written for row in again) and not leftover.exists()
    write.write_rooms(tmp_path / "b", config, workers=2, progress=False)
    for name in ("train", "val", "test"):
        text = (tmp_path / "a" / "splits" / f"{name}.txt").read_text()
        expected = {"train": "room0000_00\n", "val": "", "test": "room0001_00\n"}
        assert text == expected[name]
    for row in rows:
        manifests = [
            (tmp_path / w / "scans" / row.name / "manifest.json").read_bytes()
            for w in "ab"
        ]
        assert manifests[0] == manifests[1]


def test_workers_end_with_a_killed_run(root):
    code = (
        "import os, sys\n"
        "from sas_jax.artefacts.workers import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    pool = worker_pool(2)\n"
        "    jobs = [pool.submit(os.getpid) for _ in range(2)]\n"
        "    print(len({job.result() for job in jobs}), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert run.stdout.readline() in (b"1\n", b"2\n")
    run.kill()
    # The workers hold the other end of this pipe: it closes when the last one ends.
    assert run.communicate(timeout=60)[0] == b""


def test_seeds_of_worlds_are_disjoint_and_below_those_of_pretraining():
    used = set()
    for seed in (0, 1, 999):
        config = RoomsConfig(num_train=900, num_val=50, num_test=50, seed=seed)
        seeds = {s for scenes in config.scenes().values() for _, s in scenes}
        assert len(seeds) == 1000 and not used & seeds
        used |= seeds
    assert max(used) < FIRST_PRETRAINING_SEED


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RoomsConfig(num_train=-1), "num_train >= 0"),
        (lambda: RoomsConfig(num_train=0, num_val=0, num_test=0), "1 to 1000 rooms"),
        (lambda: RoomsConfig(seed=1000), r"seed must be in \[0, 1000\)"),
        (lambda: WriteConfig(num_frames=0), "num_frames must be in"),
        (lambda: WriteConfig(size_wh=(8, 240)), "width must be in"),
        (lambda: SurfaceConfig(spacing_m=0.0), "spacing_m must be in"),
        (lambda: write.write_rooms("x", workers=0), "workers must be at least 1"),
    ],
)
def test_bad_settings_are_refused(make, text):
    with pytest.raises(InputError, match=text):
        make()


def test_the_script_reports_bad_input_in_one_line(root, tmp_path):
    target = tmp_path / "file"
    target.write_text("")
    done = subprocess.run(
        [
            sys.executable,
            "experiments/make_rooms.py",
            "--num_train=0",
            "--num_val=0",
            "--num_test=0",
            f"--data_root={target}",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(root)},
    )
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: RoomsConfig:")


def test_jpeg_keeps_colour_edges(folder, expected):
    """Quality and chroma resolution of the files are those that were asked for."""
    buffer = io.BytesIO()
    Image.fromarray(expected[1][0][0]).save(
        buffer, "jpeg", quality=CONFIG.jpeg_quality, subsampling=0
    )
    assert buffer.getvalue() == (folder / "color" / "0.jpg").read_bytes()
