"""Keys of a scan follow the files that a stage reads, and no others."""

import pytest
from scene_files import scan_of, write_scannet


@pytest.fixture
def scan(tmp_path):
    return write_scannet(tmp_path, num_frames=3)


def changed(scan, name):
    """Return which of the keys change with one byte more in a file."""

    def keys():
        one = scan_of(scan)
        views = (one.key("views"), one.key("views", frame_stride=2))
        return *views, one.key("labels")

    before = keys()
    with open(scan / name, "ab") as file:
        file.write(b" ")
    return tuple(a != b for a, b in zip(before, keys(), strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scene0000_00_vh_clean_2.ply", (True, True, True)),
        ("scene0000_00_vh_clean_2.labels.ply", (False, False, True)),
        ("scene0000_00.txt", (True, True, False)),
        ("intrinsic/intrinsic_depth.txt", (True, True, False)),
        ("color/0.jpg", (True, True, False)),
        ("depth/10.png", (True, True, False)),
        ("pose/10.txt", (True, True, False)),
        ("color/5.jpg", (True, False, False)),
        ("scene0000_00.aggregation.json", (False, False, True)),
        ("notes.txt", (False, False, False)),
    ],
)
def test_a_key_follows_what_its_stage_reads(scan, name, expected):
    assert changed(scan, name) == expected


@pytest.mark.parametrize("name", ["pose/5.txt", "depth/5.png", "color/5.jpg"])
def test_a_file_that_is_gone_changes_the_key(scan, name):
    before = scan_of(scan).key("views")
    (scan / name).unlink()
    assert scan_of(scan).key("views") != before


def test_the_size_of_a_scan_is_that_of_the_files_that_a_stage_reads(tmp_path):
    folder = write_scannet(tmp_path, num_frames=4)
    scan = scan_of(folder)
    frames = [path for path in folder.rglob("*") if path.suffix in (".jpg", ".png")]
    every = sum(path.stat().st_size for path in frames)
    second = sum(p.stat().st_size for p in frames if int(p.stem) in (0, 10))
    assert 0 < second < every
    sizes = [scan.size("views", frame_stride=stride) for stride in (1, 2)]
    poses = sum(p.stat().st_size for p in (folder / "pose").glob("?*.txt"))
    assert every - second <= sizes[0] - sizes[1] <= every - second + poses
    (mesh,) = folder.glob("*_vh_clean_2.ply")
    assert mesh.stat().st_size <= scan.size("geometry") < sizes[1]
