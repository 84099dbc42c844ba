"""PLY files of many writers: read right, or refused with a reason."""

import hashlib
import logging
import struct
import tracemalloc

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.ply_elements import read_elements
from sas_jax.scenes.ply_write import write_ply

SQUARE = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
TRIANGLES = [[0, 1, 2], [0, 2, 3]]
ROWS = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
FACES = "3 0 1 2\n3 0 2 3\n"
FORMAT = "ply\nformat ascii 1.0\n"
VERTEX = "element vertex 4\n"
XYZ = "property float x\nproperty float y\nproperty float z\n"
FACE = "element face 2\nproperty list uchar int vertex_indices\n"
END = "end_header\n"
PLAIN = FORMAT + VERTEX + XYZ + FACE + END + ROWS + FACES


def read(tmp_path, data):
    path = tmp_path / "a.ply"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_ply(path)


def colored(kind, row, names=("red", "green", "blue")):
    channels = "".join(f"property {kind} {name}\n" for name in names)
    rows = "".join(f"{line} {row}\n" for line in ROWS.splitlines())
    return FORMAT + VERTEX + XYZ + channels + END + rows


def pack(order, *, counts="B"):
    """Return the square in binary, in a byte order of struct."""
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    kind = {"B": "uchar", "i": "int"}[counts]
    header = PLAIN.replace("ascii", name).replace("list uchar", f"list {kind}")
    data = header[: header.index(END) + len(END)].encode()
    data += b"".join(struct.pack(order + "3f", *point) for point in SQUARE)
    faces = [struct.pack(f"{order}{counts}3i", 3, *face) for face in TRIANGLES]
    return data + b"".join(faces)


VARIANTS = {
    "plain": PLAIN,
    "crlf": PLAIN.replace("\n", "\r\n"),
    "cr": PLAIN.replace("\n", "\r"),
    "byte order mark": "\ufeff" + PLAIN,
    "trailing spaces": PLAIN.replace("\n", " \n"),
    "tabs": PLAIN.replace(" ", "\t"),
    "double spaces": PLAIN.replace(" ", "  "),
    "blank lines": PLAIN.replace(FACE, "\n" + FACE).replace(FACES, "\n" + FACES),
    "utf-8 comment": PLAIN.replace(VERTEX, "comment von Müller, Küche à\n" + VERTEX),
    "gbk comment": PLAIN.replace(VERTEX, "comment 扫描 客厅 叄\n" + VERTEX).encode(
        "gbk"
    ),
    "next-line byte": PLAIN.encode().replace(b"element", b"comment a\x85b\nelement", 1),
    "comment of end_header": PLAIN.replace(VERTEX, "comment end_header\n" + VERTEX),
    "obj_info": PLAIN.replace(VERTEX, "obj_info num_cols 4\n" + VERTEX),
    "float32": PLAIN.replace("float", "float32").replace("int v", "int32 v"),
    "upper case": PLAIN.replace("t x", "t X").replace("t y", "t Y"),
    "index name": PLAIN.replace("vertex_indices", "vertex_index"),
    "float indices": PLAIN.replace("uchar int", "uchar float"),
    "faces first": FORMAT + FACE + VERTEX + XYZ + END + FACES + ROWS,
    "one line": PLAIN.replace(ROWS + FACES, (ROWS + FACES).replace("\n", " ")),
    "little endian": pack("<"),
    "big endian": pack(">"),
    "int counts": pack("<", counts="i"),
    "big int counts": pack(">", counts="i"),
    "bytes behind": pack("<") + bytes(7),
    "binary crlf": pack("<").replace(b"\n", b"\r\n", 9),
    "last line crlf": pack("<").replace(b"end_header\n", b"end_header\r\n"),
    "last line space": pack("<").replace(b"end_header\n", b"end_header \n"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_spelling_gives_the_same_mesh_without_a_word(tmp_path, caplog, name):
    mesh = read(tmp_path, VARIANTS[name])
    assert mesh.points.dtype == np.float32 and mesh.faces.dtype == np.int32
    np.testing.assert_array_equal(mesh.points, SQUARE)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)
    assert mesh.colors is None and mesh.normals is None and mesh.label is None
    assert not mesh.origin.any() and not caplog.records


def test_cr_lines_do_not_swallow_a_first_byte_that_is_a_line_feed(tmp_path):
    header = FORMAT.replace("ascii", "binary_little_endian") + VERTEX + XYZ + END
    points = SQUARE.copy()
    points[0, 0] = np.frombuffer(b"\n\x00\x00\x3f", "<f4")[0]
    mesh = read(tmp_path, header.replace("\n", "\r").encode() + points.tobytes())
    np.testing.assert_array_equal(mesh.points, points)


@pytest.mark.parametrize(
    ("kind", "row", "expected"),
    [
        ("uchar", "200 100 50", (200, 100, 50)),
        ("float", "0.8 0.5 0.2", (204, 128, 51)),
        ("double", "1 0.5 0", (255, 128, 0)),
        ("float", "200 100 49.9999", (200, 100, 50)),
        ("ushort", "65535 32896 256", (255, 128, 1)),
        ("ushort", "200 100 50", (200, 100, 50)),
        ("int", "200 100 50", (200, 100, 50)),
        ("uint", "65535 0 256", (255, 0, 1)),
        ("char", "-56 100 50", (200, 100, 50)),
    ],
)
@pytest.mark.parametrize(
    "names",
    [
        ("red", "green", "blue"),
        ("r", "g", "b"),
        ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ],
)
def test_colours_of_any_type_and_name(tmp_path, caplog, kind, row, expected, names):
    mesh = read(tmp_path, colored(kind, row, names))
    assert mesh.colors.dtype == np.uint8
    np.testing.assert_array_equal(mesh.colors, [expected] * 4)
    assert not caplog.records


@pytest.mark.parametrize("row", ["nan 0 0", "-1 0 0", "0 256 0", "inf 0 0"])
def test_colours_out_of_range_are_left_out_and_said(tmp_path, caplog, row):
    assert read(tmp_path, colored("float", row)).colors is None
    [record] = caplog.records
    assert "not read: vertex red, green, blue" in record.message


def test_what_is_left_out_is_said_in_one_line(tmp_path, caplog):
    extra = "".join(f"property float quality{i}\n" for i in range(12))
    text = FORMAT + "element camera 1\nproperty float view\n" + VERTEX + XYZ
    text += "property uchar alpha\n" + extra + FACE + "property uchar red\n"
    text += "element edge 0\nproperty int vertex1\n" + END + "7\n"
    text += "".join(f"{line} 9{' 0.5' * 12}\n" for line in ROWS.splitlines())
    mesh = read(tmp_path, text + "".join(f"{f} 8\n" for f in FACES.splitlines()))
    np.testing.assert_array_equal(mesh.points, SQUARE)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    for part in ("camera view; vertex quality0,", "and 4 more", "face red", "a.ply"):
        assert part in record.message
    assert "alpha" not in record.message and "edge" not in record.message


def test_strips_are_cut_into_triangles_that_face_one_way(tmp_path):
    strips = "element tristrips 2\nproperty list int int vertex_indices\n"
    head = FORMAT + "element vertex 6\n" + XYZ + strips + END
    points = "0 0 0\n0 1 0\n1 0 0\n1 1 0\n2 0 0\n2 1 0\n"
    # A restart within a row, and a repeated corner that leads on.
    mesh = read(tmp_path, head + points + "8 0 2 1 3 -1 3 2 5\n6 2 4 3 3 5 4\n")
    expected = [[0, 2, 1], [1, 2, 3], [3, 2, 5], [2, 4, 3], [4, 5, 3]]
    got = [np.roll(face, -np.argmin(face)) for face in mesh.faces]
    np.testing.assert_array_equal(
        got, [np.roll(face, -np.argmin(face)) for face in expected]
    )


def polygon_file(rng, *, binary):
    """Return a file of polygons with 0 to 6 corners, and its fans one by one."""
    points = rng.integers(0, 9, (9, 3))
    polygons = [rng.integers(0, 9, rng.integers(0, 7)) for _ in range(40)]
    marks = rng.integers(0, 200, 40)
    name = "binary_big_endian" if binary else "ascii"
    head = f"ply\nformat {name} 1.0\nelement vertex 9\n{XYZ}element face 40\n"
    head += "property uchar mark\nproperty list ushort int vertex_indices\n" + END
    if binary:
        body = points.astype(">f4").tobytes()
        for mark, polygon in zip(marks, polygons, strict=True):
            body += struct.pack(">BH", mark, len(polygon))
            body += struct.pack(f">{len(polygon)}i", *polygon)
    else:
        body = "".join(f"{x} {y} {z}\n" for x, y, z in points).encode()
        for mark, polygon in zip(marks, polygons, strict=True):
            body += f"{mark} {len(polygon)} {' '.join(map(str, polygon))}\n".encode()
    fans = [(p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1)]
    return head.encode() + body, points, np.reshape(fans, (-1, 3)), marks


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_polygons_of_any_size_become_fans_in_order(tmp_path, seed, binary):
    file = polygon_file(np.random.default_rng(seed), binary=binary)
    data, points, fans, marks = file
    mesh = read(tmp_path, data)
    np.testing.assert_array_equal(mesh.points, points)
    np.testing.assert_array_equal(mesh.faces, fans)
    face = read_elements(tmp_path / "a.ply")["face"]
    np.testing.assert_array_equal(face["mark"], marks)
    assert face["mark"].dtype == np.uint8 and face["mark"].dtype.isnative


@pytest.mark.parametrize("name", ["plain", "little endian", "big int counts"])
def test_no_part_of_a_file_is_taken_for_the_file(tmp_path, name):
    data = VARIANTS[name]
    data = data.strip().encode() if isinstance(data, str) else data
    read(tmp_path, data)
    for keep in range(len(data)):
        with pytest.raises(InputError, match=r"a\.ply"):
            read(tmp_path, data[:keep])


@pytest.mark.parametrize("name", ["plain", "little endian", "big int counts"])
def test_damaged_bytes_are_read_or_refused_with_the_name(tmp_path, name):
    data = VARIANTS[name]
    data = data.encode() if isinstance(data, str) else data
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        try:
            read(tmp_path, bytes(damaged))
        except InputError as error:
            refused += 1
            assert "a.ply" in str(error)
    assert 50 < refused < 400


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace("vertex 4", "vertex 1000000000000"),
        PLAIN.replace("face 2", "face 1000000000000"),
        PLAIN.replace("vertex 4", "vertex " + "9" * 5000),
        PLAIN.replace("3 0 2 3", "4000000000 0 2 3").replace("uchar", "uint"),
        PLAIN.replace("3 0 2 3", "1e300 0 2 3").replace("uchar", "uint"),
        PLAIN.replace("3 0 2 3", "-1 0 2 3").replace("uchar", "int"),
        PLAIN.replace("3 0 2 3", "2.5 0 2 3"),
        PLAIN.replace("3 0 2 3", "nan 0 2 3"),
        pack("<").replace(b"face 2", b"face 999999999999"),
        pack("<").replace(b"vertex 4", b"vertex 999999999999"),
        pack("<", counts="i").replace(struct.pack("<4i", 3, 0, 2, 3), b"\xff" * 16),
        pack("<", counts="i")[:-16] + struct.pack("<4i", 2**31 - 1, 0, 2, 3),
    ],
)
def test_absurd_counts_take_no_memory(tmp_path, data):
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"complete PLY file.*a\.ply"):
            read(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PLAIN.replace("1 1 0", "1 nan 0"), "1 with NaN or infinity"),
        (PLAIN.replace("1 1 0", "1,0 1 0"), "no numbers"),
        (PLAIN.replace("1 1 0", "1 1 0 7"), "21 numbers where"),
        (PLAIN.replace("3 0 2 3", "3 0 2 -1"), r"0\.\.3, got -1"),
        (PLAIN.replace("3 0 2 3", "3 0 2 1e12"), "for a int"),
        (PLAIN.replace("int v", "float v").replace("0 2 3", "0 2 .5"), "whole num"),
        (PLAIN.replace("vertex 4", "vertices 4"), r"got vertices \(x y z\), face"),
        (PLAIN.replace("element vertex", "elemnt vertex"), "elemnt vertex 4"),
        (PLAIN.replace("float y", "half y"), "type 'half' of property 'y'"),
        (PLAIN.replace("ply", "glTF", 1), "no first line 'ply'"),
        (PLAIN.replace("format ascii 1.0\n", ""), "property float x"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, data, reason):
    with pytest.raises(InputError, match=reason) as error:
        read(tmp_path, data)
    assert "a.ply" in str(error.value)


def test_numbers_that_their_type_cannot_hold_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"300\.0 for a uchar"):
        read(tmp_path, colored("uchar", "0 300 0"))


def test_the_writer_gives_the_bytes_that_it_always_gave(tmp_path):
    points = (np.arange(15, dtype=np.float32) / 4).reshape(5, 3)
    colors = np.arange(15, dtype=np.uint8).reshape(5, 3)
    label = np.arange(5, dtype=np.uint16)
    faces = np.array([[0, 1, 2], [2, 3, 4]])
    path = tmp_path / "a.ply"
    properties = {"alpha": colors[:, 0], "label": label, "heat": points[:, 0]}
    write_ply(path, points, colors=colors, faces=faces, properties=properties)
    header = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 5\nproperty float x\n"
        "property float y\nproperty float z\nproperty uchar red\nproperty uchar green\n"
        "property uchar blue\nproperty uchar alpha\nproperty ushort label\n"
        "property float heat\nelement face 2\nproperty list uchar int vertex_indices\n"
        "end_header\n"
    )
    body = b"".join(
        struct.pack("<3f4BHf", *points[i], *colors[i], colors[i, 0], i, points[i, 0])
        for i in range(5)
    )
    body += b"".join(struct.pack("<B3i", 3, *face) for face in faces)
    assert path.read_bytes() == header.encode() + body
    mesh = read_ply(path)
    np.testing.assert_array_equal(mesh.points, points)
    np.testing.assert_array_equal(mesh.colors, colors)
    np.testing.assert_array_equal(mesh.label, label)
    assert mesh.label.dtype == np.uint16
    write_ply(path, points.astype(np.float64), properties={"label": label})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_ply(path, points, properties={"label": label.astype(">u2")}, origin=[0, 0, 0])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert read_ply(path).faces is None


def test_gaussians_have_the_colour_that_all_sides_share(tmp_path):
    rows = "1 2 3 0 1.772453850905516 -9\n4 5 6 nan 0 9\n"
    names = [*"xyz", "f_dc_0", "f_dc_1", "f_dc_2"]
    header = "".join(f"property float {name}\n" for name in names)
    path = tmp_path / "splat.ply"
    path.write_text(
        f"ply\nformat ascii 1.0\nelement vertex 2\n{header}end_header\n{rows}"
    )
    mesh = read_ply(path)
    np.testing.assert_array_equal(mesh.colors, [[128, 255, 0], [128, 128, 255]])
    np.testing.assert_array_equal(mesh.points, [[1, 2, 3], [4, 5, 6]])
