"""Keys of a scan follow the files that a stage reads, and no others."""

import pytest
from scene_files import write_scannet

from sas_jax.datasets.scan_keys import labels_key, views_key


@pytest.fixture
def scan(tmp_path):
    return write_scannet(tmp_path, num_frames=3)


def changed(scan, name):
    """Return which of the keys change with one byte more in a file."""

    def keys():
        return views_key(scan), views_key(scan, 2), labels_key(scan)

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
        ("scene0000_00.aggregation.json", (False, False, False)),
        ("notes.txt", (False, False, False)),
    ],
)
def test_a_key_follows_what_its_stage_reads(scan, name, expected):
    assert changed(scan, name) == expected


@pytest.mark.parametrize("name", ["pose/5.txt", "depth/5.png", "color/5.jpg"])
def test_a_file_that_is_gone_changes_the_key(scan, name):
    before = views_key(scan)
    (scan / name).unlink()
    assert views_key(scan) != before
