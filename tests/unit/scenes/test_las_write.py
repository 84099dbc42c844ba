"""Classes are written into a scanner's own file, and nothing else of it changes."""

import struct

import numpy as np
import pytest
from geometry_files import geo_keys, las, wkt

from sas_jax.errors import InputError
from sas_jax.scenes import las_write
from sas_jax.scenes.las import read_header, read_las

COUNT = 500


def points_and_colors(seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(
        [500_000, 5_000_000, 100], [500_020, 5_000_010, 110], (COUNT, 3)
    )
    return points, rng.integers(0, 256, (COUNT, 3)).astype(np.uint8)


def codes():
    return (64 + np.arange(COUNT) % 20).astype(np.uint8)


def records(path):
    """Return header and records of a file that is not compressed."""
    with path.open("rb") as file:
        header = read_header(file)
        file.seek(header.at)
        data = file.read(header.points * header.length)
    return header, np.frombuffer(data, np.uint8).reshape(header.points, header.length)


def zipped(path, kind, length):
    """Return the records of a compressed file by lazrs alone."""
    import io

    import lazrs

    with path.open("rb") as file:
        header = read_header(file)
    file = io.BytesIO(path.read_bytes())
    file.seek(header.at)
    packer = lazrs.LasZipDecompressor(file, header.notes[b"laszip encoded", 22204])
    block = np.empty(header.points * length, np.uint8)
    packer.decompress_many(block)
    assert header.format == kind
    return block.reshape(-1, length)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize("with_colors", [True, False])
def test_points_alone_become_a_file(tmp_path, suffix, with_colors):
    points, colors = points_and_colors()
    path = tmp_path / f"a{suffix}"
    las_write.write_las(path, points, codes(), colors if with_colors else None)
    mesh = read_las(path)
    np.testing.assert_allclose(mesh.points + mesh.origin, points, atol=4e-4)
    assert (mesh.colors is not None) == with_colors
    if with_colors:
        np.testing.assert_array_equal(mesh.colors, colors)
    length = 36 if with_colors else 30
    if suffix == ".laz":
        rows = zipped(path, 7 if with_colors else 6, length)
    else:
        header, rows = records(path)
        assert header.length == length
    np.testing.assert_array_equal(rows[:, 16], codes())


@pytest.mark.parametrize("compressed", [False, True])
def test_a_scanners_file_keeps_what_it_says(tmp_path, compressed):
    points, colors = points_and_colors()
    notes = [geo_keys(model=1, linear=9001)]
    source = tmp_path / "scan.laz"
    source.write_bytes(las(points, colors, compressed=compressed, notes=notes))
    target = tmp_path / "out.las"
    las_write.write_classified(target, source, codes())
    (was, now) = read_las(source), read_las(target)
    np.testing.assert_array_equal(now.points, was.points)
    np.testing.assert_array_equal(now.colors, was.colors)
    assert now.unit_m == was.unit_m == 1.0
    header, rows = records(target)
    assert header.notes[notes[0][:2]] == notes[0][2]
    np.testing.assert_array_equal(rows[:, 16], codes())


def old_records():
    """Return records of format 3 with two more bytes, each field of its own value."""
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 256, (COUNT, 36)).astype(np.uint8)
    rows[:, :12] = rng.integers(0, 10**6, (COUNT, 3)).astype("<i4").view(np.uint8)
    rows[:, 16] = rng.integers(-90, 91, COUNT).astype(np.int8).view(np.uint8)
    return rows


def file_of(rows, form, notes=b"", count=0):
    head = bytearray(227)
    head[:4], head[24:26], head[26:32] = b"LASF", bytes([1, 2]), b"maker!"
    at = 227 + len(notes)
    numbers = 227, at, count, form, rows.shape[1], len(rows)
    struct.pack_into("<HIIBHI", head, 94, *numbers)
    struct.pack_into("<6d", head, 131, 0.01, 0.01, 0.01, 1e3, 2e3, 3.0)
    return bytes(head) + notes + rows.tobytes()


def test_old_records_become_new_ones_without_loss(tmp_path):
    old = old_records()
    kind, number, content = wkt('PROJCS["x",UNIT["metre",1]]')
    note = struct.pack("<2x16sHH32x", kind, number, len(content)) + content
    source, target = tmp_path / "scan.las", tmp_path / "out.las"
    source.write_bytes(file_of(old, 3, note, 1))
    las_write.write_classified(target, source, codes())
    header, new = records(target)
    assert (header.format, header.length) == (7, 38)
    data = target.read_bytes()
    assert data[24:32] == bytes([1, 4]) + b"maker!"
    assert struct.unpack_from("<H", data, 6)[0] & 16  # the CRS is text
    np.testing.assert_array_equal(new[:, :14], old[:, :14])  # place and intensity
    np.testing.assert_array_equal(new[:, 14] & 15, old[:, 14] & 7)  # which echo
    np.testing.assert_array_equal(new[:, 14] >> 4, old[:, 14] >> 3 & 7)  # of how many
    np.testing.assert_array_equal(new[:, 15] >> 6, old[:, 14] >> 6)  # mirror, edge
    np.testing.assert_array_equal(new[:, 15] & 7, old[:, 15] >> 5)  # flags
    np.testing.assert_array_equal(new[:, 15] >> 3 & 1, (old[:, 15] & 31) == 12)
    np.testing.assert_array_equal(new[:, 16], codes())
    np.testing.assert_array_equal(new[:, 17], old[:, 17])  # the user's
    angle = new[:, 18:20].copy().view("<i2")[:, 0] * 0.006
    np.testing.assert_allclose(angle, old[:, 16].view(np.int8), atol=0.003)
    np.testing.assert_array_equal(new[:, 20:22], old[:, 18:20])  # source
    np.testing.assert_array_equal(new[:, 22:30], old[:, 20:28])  # time
    np.testing.assert_array_equal(new[:, 30:36], old[:, 28:34])  # colour
    np.testing.assert_array_equal(new[:, 36:], old[:, 34:])  # of whoever made it
    ends = np.array(struct.unpack_from("<6d", data, 179)).reshape(3, 2)
    place = old[:, :12].copy().view("<i4") * 0.01 + [1e3, 2e3, 3.0]
    np.testing.assert_allclose(ends, np.stack([place.max(0), place.min(0)], 1))
    count, *returns = struct.unpack_from("<Q15Q", data, 247)
    assert count == COUNT and sum(returns) == ((old[:, 14] & 7) > 0).sum()


def test_new_records_stay_but_for_the_class(tmp_path):
    old = old_records()[:, :30]
    source, target = tmp_path / "scan.las", tmp_path / "out.las"
    source.write_bytes(file_of(old, 6))
    las_write.write_classified(target, source, codes())
    _, new = records(target)
    others = [i for i in range(30) if i != 16]
    np.testing.assert_array_equal(new[:, others], old[:, others])
    np.testing.assert_array_equal(new[:, 16], codes())


def test_codes_leave_those_of_the_standard_alone():
    assert las_write.class_codes(20) == 64
    assert las_write.class_codes(200) == 56  # ScanNet's
    assert las_write.class_codes(233) == 23
    with pytest.raises(InputError, match="at most 233 classes"):
        las_write.class_codes(234)


def test_another_number_of_points_is_refused(tmp_path):
    points, colors = points_and_colors()
    source = tmp_path / "scan.las"
    source.write_bytes(las(points, colors))
    with pytest.raises(InputError, match="each of 500 points is required, got 499"):
        las_write.write_classified(tmp_path / "out.las", source, codes()[:-1])
    assert not (tmp_path / "out.las").exists()
