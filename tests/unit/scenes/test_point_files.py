"""Point clouds in PCD, LAS, LAZ and text: variants, bad files, and any bytes."""

import logging
import struct

import numpy as np
import pytest
from geometry_files import las, lzf, pcd, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sas_jax.errors import InputError
from sas_jax.scenes.mesh_files import read_mesh
from sas_jax.scenes.pcd import lzf_decompress

POINTS = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])
COLORS = np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 99, 199]])
NORMALS = np.float32([[0, 0, 1], [0, 0, -1], [0.6, 0, -0.8], [0, 1, 0]])
FORMS = ("ascii", "binary", "binary_compressed")


def read(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_mesh(path)


def changed(data, at, piece):
    return data[:at] + piece + data[at + len(piece) :]


@pytest.mark.parametrize("packed_as", ["F", "U"])
@pytest.mark.parametrize("form", FORMS)
def test_pcd_in_every_form(tmp_path, form, packed_as):
    mesh = read(tmp_path, "a.pcd", pcd(POINTS, COLORS, form, packed_as))
    np.testing.assert_array_equal(mesh.points, POINTS)
    np.testing.assert_array_equal(mesh.colors, COLORS)
    assert mesh.faces is None and mesh.normals is None and mesh.up is None


def test_pcd_with_normals_labels_padding_and_pixels_without_a_reading(tmp_path, caplog):
    head = (
        "VERSION .7\nFIELDS x y z normal_x normal_y normal_z _ label r g b\n"
        "SIZE 8 8 8 4 4 4 1 4 1 1 1\nTYPE F F F F F F U U U U U\n"
        "COUNT 1 1 1 1 1 1 4 1 1 1 1\nWIDTH 2\nHEIGHT 2\n"
        "VIEWPOINT 1 0 0 1 0 0 0\nDATA ascii\n"
    )
    rows = ["nan nan nan 0 0 1"]
    rows += [
        " ".join(map(str, [*p, *n]))
        for p, n in zip(POINTS[1:].tolist(), NORMALS[1:].tolist(), strict=True)
    ]
    lines = [f"{row} 0 0 0 0 {i} {i} 2 3" for i, row in enumerate(rows)]
    mesh = read(tmp_path, "a.pcd", head + "\n".join(lines) + "\n")
    np.testing.assert_array_equal(mesh.points, POINTS[1:])
    np.testing.assert_allclose(mesh.normals, NORMALS[1:], atol=1e-7)
    assert mesh.label.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(mesh.colors, [[i, 2, 3] for i in (1, 2, 3)])
    assert "1 of 4 points are NaN" in caplog.text and "VIEWPOINT" in caplog.text


def test_whole_numbers_for_packed_floats(tmp_path):
    data = pcd(POINTS, COLORS, "ascii", "U").replace(b"TYPE F F F U", b"TYPE F F F F")
    np.testing.assert_array_equal(read(tmp_path, "a.pcd", data).colors, COLORS)


def test_lzf_repeats_what_overlaps():
    assert lzf_decompress(bytes([2, 1, 2, 3, (3 << 5), 2]), 8) == bytes(
        [1, 2, 3, 1, 2, 3, 1, 2]
    )
    data = bytes(1000) + bytes(range(200)) + b"\7" * 500
    assert lzf_decompress(lzf(data), len(data)) == data
    for wrong, size in ((b"\x20\x05", 3), (b"\x03a", 4), (b"\x00a", 2), (b"\xe0", 9)):
        with pytest.raises(ValueError, match="compressed rows"):
            lzf_decompress(wrong, size)


@pytest.mark.parametrize("suffix", [".xyz", ".pts", ".asc", ".csv", ".txt"])
def test_text_in_every_form(tmp_path, suffix):
    mesh = read(tmp_path, f"a{suffix}", text(suffix, POINTS, COLORS))
    np.testing.assert_array_equal(mesh.points, POINTS)
    np.testing.assert_array_equal(mesh.colors, COLORS)


@pytest.mark.parametrize(
    ("name", "head", "columns", "separator"),
    [
        ("a.xyz", "", "pcn", " "),
        ("a.xyz", "", "pnc", "\t"),
        ("a.xyzn", "", "pn", " "),
        ("a.xyzrgb", "", "ps", " "),
        ("a.txt", "# from a scanner\n//X Y Z R G B Nx Ny Nz\n", "pcn", " "),
        ("a.csv", '"x","y","z","nx","ny","nz","red","green","blue"\n', "pnc", ","),
        ("a.csv", "X [m];Y [m];Z [m]\n", "p", ";"),
        ("a.asc", "\ufeff", "pis", " "),
        ("a.txt", "", "pci", ","),
    ],
)
def test_columns_are_told_by_names_or_values(tmp_path, name, head, columns, separator):
    parts = {
        "p": POINTS,
        "c": COLORS,
        "n": NORMALS,
        "s": COLORS / 255,
        "i": np.float32([[700.5]] * 4),
    }
    rows = np.hstack([parts[c].astype(float) for c in columns])
    lines = [separator.join(f"{v:.9g}" for v in row) for row in rows]
    if separator == ";":
        lines = [line.replace(".", ",") for line in lines]
    mesh = read(tmp_path, name, head + "\r\n".join(lines))
    np.testing.assert_array_equal(mesh.points, POINTS)
    if {"c", "s"} & set(columns):
        np.testing.assert_array_equal(mesh.colors, COLORS)
    else:
        assert mesh.colors is None
    assert (mesh.normals is not None) == ("n" in columns)
    if "n" in columns:
        np.testing.assert_allclose(mesh.normals, NORMALS, atol=1e-6)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las(tmp_path, suffix):
    if suffix == ".laz":
        pytest.importorskip("lazrs", reason="LAZ needs the extra [las]")
    data = las(POINTS, COLORS, compressed=suffix == ".laz")
    mesh = read(tmp_path, f"a{suffix}", data)
    np.testing.assert_allclose(mesh.points, POINTS, atol=1e-6)
    np.testing.assert_array_equal(mesh.colors, COLORS)
    assert (mesh.unit_m, mesh.up) == (1, "z")
    for keep in range(0, len(data) - 1, 13):
        with pytest.raises(InputError, match=rf"a\{suffix}"):
            read(tmp_path, f"a{suffix}", data[:keep])


def test_black_las_has_no_colours(tmp_path):
    assert read(tmp_path, "a.las", las(POINTS, 0 * COLORS)).colors is None


def patched(data, at, new):
    return data[:at] + new + data[at + len(new) :]


LAS = las(POINTS, COLORS)
PCD = pcd(POINTS, COLORS)
PACKED = pcd(POINTS, COLORS, "binary_compressed")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.las", b"", "no signature"),
        ("a.las", patched(LAS, 24, b"\2\0"), "version 2.0"),
        ("a.las", patched(LAS, 104, b"\x3f"), "records of format 63"),
        ("a.las", patched(LAS, 107, b"\xff\xff\xff\xff"), "4294967295 points"),
        ("a.las", patched(LAS, 107, bytes(4)), "P >= 1"),
        ("a.las", patched(LAS, 131, b"\xff" * 8), "no number"),
        ("a.laz", patched(LAS, 104, b"\x82"), "without the record"),
        ("a.pcd", b"", "no header"),
        ("a.pcd", PCD.replace(b"DATA binary", b"DATA zip"), "DATA 'zip'"),
        ("a.pcd", PCD.replace(b"POINTS 4", b"POINTS 9999999999999"), "bytes where"),
        ("a.pcd", PCD.replace(b"POINTS 4", b"POINTS -4"), "-4 points"),
        ("a.pcd", PCD.replace(b"POINTS 4", b"POINTS"), "complete PCD"),
        ("a.pcd", PCD.replace(b"POINTS 4", b"POINTS 0"), "P >= 1"),
        ("a.pcd", PCD.replace(b"SIZE 4", b"SIZE 3"), "type F3"),
        ("a.pcd", PCD.replace(b"COUNT 1 1 1 1", b"COUNT 1 1 1"), "do not agree"),
        ("a.pcd", PCD.replace(b"FIELDS x", b"FIELDS a"), "fields x, y, z"),
        ("a.pcd", PCD[:-3], "bytes where"),
        ("a.pcd", PACKED[:-3], "compressed bytes"),
        ("a.pcd", PACKED[:-2] + b"\xff\0", "compressed rows"),
        ("a.xyz", b"", "no line of numbers"),
        ("a.xyz", b"hello\nworld\n" * 200, "no line of numbers"),
        ("a.xyz", b"1 2\n3 4\n", "lines of 2"),
        ("a.xyz", b"1 2 3\n4 5\n", "a line of 2 numbers"),
        ("a.xyz", b"1 2 3\n4 5\n\n6 7 8 9", "a line of 2 numbers"),
        ("a.csv", b"x,y,z\n1,2,3\n4,,5\n6,7,8,9", "a line of 2 numbers"),
        ("a.xyz", b"1 2 3 " * 99, "lines of 297 numbers"),
        ("a.las", changed(las(POINTS, COLORS), 96, b"\0\0\0\0"), "points at byte 0"),
        ("a.las", changed(las(POINTS, COLORS), 131, bytes(24)), "a scale of 0"),
        ("a.xyz", b"1 2 3\n4 five 6\n", "no numbers"),
        ("a.xyz", b"1 2 3\n4 nan 6\n", "finite"),
        ("a.pts", b"3\n1 2 3\n4 5 6\n", "2 points where 3"),
        ("a.csv", b"a,b,c\n1,2,3\n", None),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, name, data, message):
    if message is None:  # names that say nothing are none
        assert len(read(tmp_path, name, data).points) == 1
        return
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, name, data)
    assert name in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_table_of_more_chunks_than_bytes_is_refused(tmp_path, at_the_end):
    pytest.importorskip("lazrs", reason="LAZ needs the extra [las]")
    data = bytearray(las(POINTS, COLORS, compressed=True))
    (points_at,) = struct.unpack_from("<I", data, 96)
    (table,) = struct.unpack_from("<q", data, points_at)
    if at_the_end:
        data[points_at : points_at + 8] = struct.pack("<q", -1)
        data += struct.pack("<q", table)
    assert len(read(tmp_path, "a.laz", bytes(data)).points) == len(POINTS)
    data[table + 4 : table + 8] = struct.pack("<I", 1_666_666_666)
    with pytest.raises(InputError, match="1666666666 chunks"):
        read(tmp_path, "a.laz", bytes(data))


SEEDS = {
    ".pcd": [PCD, PACKED, pcd(POINTS, COLORS, "ascii")],
    ".las": [LAS],
    ".laz": [LAS],
    ".xyz": [text(".xyz", POINTS, COLORS).encode()],
    ".pts": [text(".pts", POINTS, COLORS).encode()],
    ".csv": [text(".csv", POINTS, COLORS).encode()],
}


@pytest.mark.parametrize("suffix", SEEDS)
@settings(
    max_examples=150,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_bytes_are_read_or_refused(tmp_path, suffix, data):
    logging.disable(logging.CRITICAL)
    seeds = list(SEEDS[suffix])
    if suffix == ".laz":
        pytest.importorskip("lazrs", reason="LAZ needs the extra [las]")
        seeds = [las(POINTS, COLORS, compressed=True)]
    seed = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(seed)))
        new = data.draw(st.binary(max_size=5))
        seed[at : at + data.draw(st.integers(0, 8))] = new
    try:
        mesh = read(tmp_path, f"a{suffix}", bytes(seed))
    except InputError as error:
        assert f"a{suffix}" in str(error)
    else:
        assert len(mesh.points) and np.isfinite(mesh.points).all()
    finally:
        logging.disable(logging.NOTSET)
