"""Files of Gaussians: what was written is read back, what is broken is refused."""

import dataclasses
import gzip
import logging

import numpy as np
import pytest

from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians.files.compressed_ply import decode
from sas_jax.gaussians.files.formats import read_splats, write_splats
from sas_jax.gaussians.files.ply import is_compressed_ply, is_plain_ply
from sas_jax.gaussians.files.rewrite import read_splat_file
from sas_jax.gaussians.files.sidecar import load_sidecar, save_sidecar
from sas_jax.gaussians.files.spz import write_spz
from sas_jax.gaussians.splats import C0, COEFFICIENTS, checked_splats, half_turn
from sas_jax.scenes.ply_elements import read_elements
from sas_jax.scenes.ply_write import write_ply

FIELDS = ("means", "scales", "rotations", "opacities", "sh")
HEAD = "ply\nformat binary_little_endian 1.0\nelement vertex 300\n"


def gaussians(degree=3, num=300, **more):
    rng = np.random.default_rng(degree)
    return checked_splats(
        rng.normal(size=(num, 3)),
        np.exp(rng.normal(-3, 1, (num, 3))),
        rng.normal(size=(num, 4)),
        rng.random(num),
        rng.normal(0, 0.1, (num, COEFFICIENTS[degree], 3)),
        "here",
        **more,
    )


def close(got, want):
    for name in FIELDS:
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-5)


def refused(path, *words):
    with pytest.raises(InputError) as error:
        read_splats(path)
    for word in (path.name, *words):
        assert word in str(error.value)


def written(tmp_path, splats, name="a.ply"):
    write_splats(tmp_path / name, splats)
    return tmp_path / name


@pytest.mark.parametrize("degree", range(5))
def test_ply_round_trip(tmp_path, degree):
    splats = gaussians(degree)
    close(read_splats(written(tmp_path, splats)), splats)


def test_labels_and_features_are_properties(tmp_path):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 12)).astype(np.float32)
    labels = np.arange(300, dtype=np.int32) - 1
    splats = gaussians(1, labels=labels, features=features)
    path = written(tmp_path, splats)
    got = read_splats(path)
    np.testing.assert_array_equal(got.labels, labels)
    np.testing.assert_array_equal(got.features, features)
    # Behind all that viewers ask for.
    header = path.read_bytes().partition(b"end_header")[0]
    assert header.index(b"int label") > header.index(b"rot_3")
    assert header.index(b"float semantic_0\n") > header.index(b"rot_3")


def test_what_has_no_logarithm_is_written(tmp_path):
    splats = gaussians(0)
    splats.opacities[:2] = 0, 1
    splats.scales[0] = 0
    got = read_splats(written(tmp_path, splats))
    np.testing.assert_allclose(got.opacities[:2], [0, 1], atol=5e-8)
    assert got.scales[0].max() < 1e-37
    close(got.take(slice(2, None)), splats.take(slice(2, None)))


def reordered(path, order, kind):
    """The same Gaussians with properties in another order, type and byte order."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    names = [line.split()[-1].decode() for line in head.splitlines()[3:]]
    rows = np.frombuffer(body, "<f4").reshape(-1, len(names))
    places = np.random.default_rng(7).permutation(len(names))
    form = {"<": "binary_little_endian", ">": "binary_big_endian"}.get(order, "ascii")
    lines = ["ply", f"format {form} 1.0", f"element vertex {len(rows)}"]
    lines += [f"property {kind} {names[i]}" for i in places] + ["end_header\n"]
    code = {"float": "f4", "double": "f8"}[kind]
    moved = rows[:, places]
    text = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in moved).encode()
    data = text if order == "a" else moved.astype(order + code).tobytes()
    path.write_bytes("\n".join(lines).encode() + data)


@pytest.mark.parametrize("order", ["<", ">", "a"])
@pytest.mark.parametrize("kind", ["float", "double"])
def test_properties_in_any_order_and_type(tmp_path, order, kind):
    splats = gaussians(2)
    path = written(tmp_path, splats)
    reordered(path, order, kind)
    close(read_splats(path), splats)


def test_unused_properties_may_be_absent_and_others_are_told(tmp_path, caplog):
    path = written(tmp_path, gaussians(0))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"nx\n", b"mood\n"))
    with caplog.at_level(logging.WARNING):
        assert len(read_splats(path)) == 300
    assert "not read: mood (" in caplog.text


BROKEN = {
    "cut": (lambda d: d[:-100], "rows of vertex"),
    "no end": (lambda d: d[:200], "end_header"),
    "empty": (lambda d: b"", "no first line"),
    "type": (lambda d: d.replace(b"float opacity", b"half opacity"), "'half'"),
    "name": (lambda d: d.replace(b"float opacity", b"float opacitx"), "called opacity"),
    "rest": (lambda d: d.replace(b"f_rest_8", b"f_best_8"), "got 8"),
    "gap": (lambda d: d.replace(b"f_rest_0", b"f_rest_9"), "f_rest_0"),
    "none": (lambda d: d.replace(b"vertex 300", b"vertex 0"), "got none"),
    "nan": (lambda d: d[:-4] + np.float32(np.nan).tobytes(), "row 299"),
    "inf": (lambda d: d[:-4] + np.float32(np.inf).tobytes(), "row 299"),
    "long": (lambda d: d[:-20] + np.float32(99).tobytes() + d[-16:], "finite scales"),
    "unturned": (lambda d: d[:-16] + bytes(16), "longer than 0"),
    "points": (lambda d: d.replace(b"scale_", b"scala_"), "point cloud"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_ply(tmp_path, case):
    path = written(tmp_path, gaussians(1))
    change, word = BROKEN[case]
    path.write_bytes(change(path.read_bytes()))
    refused(path, word)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d[:-100], "rows of sh"),
        (lambda d: d.replace(b"chunk 2", b"chunk 1"), "1 chunks"),
        (lambda d: d.replace(b"packed_scale", b"packed_scala"), "packed_scale"),
        (lambda d: d.replace(b"float max_b", b"float max_q"), "max_b"),
        (lambda d: d.replace(b"f_rest_44", b"f_rest_45"), "f_rest_44"),
        (lambda d: d.replace(b"element sh 300", b"element sh 299"), "299 rows"),
    ],
)
def test_broken_compressed_ply(tmp_path, small_golden, change, word):
    source = small_golden / "gaussians/formats/playcanvas_compressed_sh3.ply"
    path = tmp_path / "a.ply"
    path.write_bytes(change(source.read_bytes()))
    refused(path, word)


def test_headers_tell_plain_and_compressed_files_of_gaussians(small_golden, tmp_path):
    folder = small_golden / "gaussians/formats"
    packed = folder / "playcanvas_compressed_sh3.ply"
    plain, points = tmp_path / "plain.ply", tmp_path / "points.ply"
    write_splats(plain, read_splats(packed))
    write_ply(points, np.zeros((3, 3), np.float32))
    paths = (plain, packed, points, folder)
    assert [is_plain_ply(path) for path in paths] == [True, False, False, False]
    assert [is_compressed_ply(path) for path in paths] == [False, True, False, False]


def test_old_compressed_files_have_no_bounds_of_colours(small_golden):
    source = small_golden / "gaussians/formats/playcanvas_compressed_sh3.ply"
    elements = read_elements(source)
    for name in list(elements["chunk"]):
        if name[-1] in "rgb":
            del elements["chunk"][name]
    codes = elements["vertex"]["packed_color"].astype(np.int64)
    del elements["sh"]
    got = decode(elements, "here")
    red = (codes >> 24) / 255
    np.testing.assert_allclose(got.sh[:, 0, 0] * C0 + 0.5, red, atol=1e-6)
    assert got.degree == 0


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("degree", range(4))
def test_spz_round_trip(tmp_path, version, degree):
    splats = gaussians(degree, antialiased=True)
    splats.rotations[:4] = np.eye(4) * [1, -1, 1, -1]
    write_spz(tmp_path / "a.spz", splats, version)
    got = read_splats(tmp_path / "a.spz")
    assert got.antialiased
    np.testing.assert_allclose(got.means, splats.means, atol=2.0**-13 + 1e-6)
    np.testing.assert_allclose(got.opacities, splats.opacities, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(
        np.log(got.scales), np.log(splats.scales), atol=1 / 32 + 1e-6
    )
    dot = np.abs(np.sum(got.rotations * splats.rotations, axis=1))
    # Half a step of each of three components; the fourth doubles it at worst.
    angle = np.degrees(2 * np.arccos(np.minimum(dot, 1)))
    assert angle.max() < {2: 16, 3: 0.4}[version]
    np.testing.assert_allclose(got.sh[:, 1:], splats.sh[:, 1:], atol=8.5 / 128)
    # Numbers that are rounded already stay as they are.
    write_spz(tmp_path / "b.spz", got, version)
    again = read_splats(tmp_path / "b.spz")
    for name in ("means", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(got, name), getattr(again, name))


def test_spz_of_a_large_place(tmp_path):
    splats = gaussians(0)
    splats.means[0] = 5000, -8191, 3
    got = read_splats(written(tmp_path, splats, "a.spz"))
    np.testing.assert_allclose(got.means, splats.means, atol=2.0**-11 + 1e-6)


def header(d, at, value):
    data = bytearray(gzip.decompress(d))
    data[at : at + len(value)] = value
    return gzip.compress(bytes(data))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d[: len(d) // 2], "bytes for 300 Gaussians"),
        (lambda d: b"ply\n" + d, "incorrect header"),
        (lambda d: d[:20], "header"),
        (lambda d: header(d, 0, b"\0"), "something else"),
        (lambda d: header(d, 4, b"\1"), "version 1"),
        (lambda d: header(d, 8, b"\0\0\0\0"), "got none"),
        (lambda d: header(d, 8, b"\xff\xff\xff\xff"), "4294967295 Gaussians in"),
        (lambda d: header(d, 12, b"\7"), "degree 7"),
        (lambda d: gzip.decompress(d), "version 4"),
    ],
)
def test_broken_spz(tmp_path, change, word):
    path = written(tmp_path, gaussians(1), "a.spz")
    path.write_bytes(change(path.read_bytes()))
    refused(path, word)


@pytest.mark.parametrize("name", ["a.ply", "b.ply", "a.spz", "a.npz"])
def test_damaged_bytes_are_read_or_refused_with_the_name(tmp_path, name, small_golden):
    path = tmp_path / name
    if name == "a.npz":
        np.savez(path, **parameters())
    elif name == "b.ply":
        folder = small_golden / "gaussians/formats"
        path.write_bytes((folder / "playcanvas_compressed_sh3.ply").read_bytes())
    else:
        write_splats(path, gaussians(1))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(min(1500, len(data)), size=2):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data) // 2, 2 * len(data))])
        try:
            assert len(read_splats(path))
        except InputError as error:
            assert name in str(error)


def test_what_spz_does_not_hold(tmp_path):
    with pytest.raises(InputError, match="degree 3 at most"):
        write_splats(tmp_path / "a.spz", gaussians(4))


def parameters():
    splats = gaussians(1)
    return {
        "means": splats.means,
        "quats": 2 * splats.rotations,
        "scales": np.log(splats.scales),
        "opacities": np.float32([0] * 300),
        "sh0": splats.sh[:, :1],
        "shN": splats.sh[:, 1:],
    }


def test_broken_npz(tmp_path):
    path = tmp_path / "a.npz"
    for change, word in (
        (lambda p: p.pop("sh0"), "means, quats"),
        (lambda p: p.update(quats=p["quats"][:-1]), "quats of shape [300, 4]"),
        (lambda p: p.update(shN=p["shN"][:, :2]), "got 3"),
        (lambda p: p.update(means=np.zeros((300, 3), int)), "int64"),
        (lambda p: p["means"].__setitem__((7, 1), np.nan), "row 7"),
    ):
        arrays = {name: array.copy() for name, array in parameters().items()}
        change(arrays)
        np.savez(path, **arrays)
        refused(path, word)
    path.write_bytes(path.read_bytes()[:-50])
    refused(path, "complete")


def test_no_file_and_no_format(tmp_path):
    refused(tmp_path / "none.ply", "must exist")
    refused(tmp_path / "a.obj", ".spz")
    with pytest.raises(InputError, match=r"\.spz"):
        write_splats(tmp_path / "a.npz", gaussians(0))


def test_sidecar(tmp_path):
    features = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float16)
    features[5] = 0
    splats = gaussians(0, features=features)
    path, space = tmp_path / "a.spz", TextSpace("tower", "0" * 64, 8)
    save_sidecar(path, splats, space)
    bare = dataclasses.replace(splats, features=None)
    got, found = load_sidecar(path, bare)
    np.testing.assert_array_equal(got.features, features.astype(np.float32))
    assert found == space
    with pytest.raises(InputError, match="points"):
        load_sidecar(path, bare.take(np.arange(300)[::-1]))
    with pytest.raises(ContractError, match="features are required"):
        save_sidecar(path, bare, space)


def strange_ply(path, num=7):
    """Write a file with properties of an editor, in another order and type."""
    rng = np.random.default_rng(5)
    names = [f"rot_{i}" for i in range(4)] + ["opacity", "x", "y", "z", "weight"]
    names += [f"scale_{i}" for i in range(3)] + [f"f_dc_{i}" for i in range(3)]
    names += [f"f_rest_{i}" for i in range(9)]
    columns = {name: rng.normal(size=num).astype(np.float32) for name in names}
    columns["rot_0"] += 3  # no unit quaternions
    columns["state"] = rng.integers(0, 255, num).astype(np.uint8)
    write_ply(path, np.zeros((num, 3)), properties=columns)
    return columns


def test_a_cut_keeps_every_property_bit_for_bit(tmp_path):
    columns = strange_ply(tmp_path / "a.ply")
    file = read_splat_file(tmp_path / "a.ply")
    kept = np.array([4, 1, 6])
    file.write(tmp_path / "cut.ply", which=kept)
    got = read_elements(tmp_path / "cut.ply")["vertex"]
    assert got.keys() == columns.keys()
    for name, column in columns.items():
        assert got[name].dtype == column.dtype
        np.testing.assert_array_equal(got[name], column[kept], name)


def test_colours_replace_the_harmonics_of_a_file(tmp_path):
    columns = strange_ply(tmp_path / "a.ply")
    colors = np.random.default_rng(0).integers(0, 256, (7, 3)).astype(np.uint8)
    file = read_splat_file(tmp_path / "a.ply")
    file.write(
        tmp_path / "b.ply",
        colors=colors,
        properties={"heat": np.arange(7, dtype=np.float32)},
    )
    splats = read_splats(tmp_path / "b.ply")
    assert splats.degree == 0
    shown = np.rint(255 * (0.5 + C0 * splats.sh[:, 0]))
    np.testing.assert_array_equal(shown, colors)
    got = read_elements(tmp_path / "b.ply")["vertex"]
    np.testing.assert_array_equal(got["heat"], np.arange(7))
    for name in ("opacity", "weight", "state", "scale_1", "rot_3", "x"):
        np.testing.assert_array_equal(got[name], columns[name])


def test_a_cut_of_spz_stands_in_the_axes_of_ply_files(tmp_path):
    splats = gaussians(1)
    write_spz(tmp_path / "a.spz", half_turn(splats))
    file = read_splat_file(tmp_path / "a.spz")
    file.write(tmp_path / "cut.ply", which=np.arange(300) % 2 == 0)
    cut = read_splats(tmp_path / "cut.ply")
    np.testing.assert_allclose(cut.means, splats.means[::2], atol=2.0**-12)
    # Signs of y and z, and of the harmonics that follow.
    np.testing.assert_allclose(cut.sh, splats.sh[::2], atol=0.04)
    same = np.abs(np.einsum("gi,gi->g", cut.rotations, splats.rotations[::2]))
    np.testing.assert_allclose(same, 1, atol=1e-3)
