"""Depth in images, arrays and EXR; contents count, not suffixes; damage is told."""

import contextlib
import io
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sas_jax.errors import InputError
from sas_jax.scenes.depth_files import read_depth

METRES = np.array([[0, 0.5, 1.25], [2, 4, 7.75]], np.float32)
MILLIMETRES = (METRES * 1000).astype(np.uint16)


def npz(**arrays):
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    return data.getvalue()


def npy(array):
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def image(array, kind):
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind)
    return data.getvalue()


def exr(folder, channels, dtype=np.float32):
    package = pytest.importorskip("OpenEXR")
    path = folder / "a.exr"
    head = {"compression": package.ZIP_COMPRESSION, "type": package.scanlineimage}
    arrays = {name: array.astype(dtype) for name, array in channels.items()}
    with package.File(head, arrays) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize(
    "data",
    [
        image(MILLIMETRES, "PNG"),
        image(MILLIMETRES, "TIFF"),
        image(METRES, "TIFF"),
        npy(METRES),
        npy(METRES[..., None].astype(np.float64)),
        npy(METRES.astype(np.float16)),
        npy(MILLIMETRES),
        npy(MILLIMETRES.astype(">u4")),
        npy(np.asfortranarray(MILLIMETRES)),
        npy(np.where(METRES == 0, -1, MILLIMETRES).astype(np.int32)),
        npy(np.where(METRES == 0, np.nan, METRES)),
        npz(depth=METRES),
        npz(depth=MILLIMETRES[None]),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "A.PNG", "a.npy"])
def test_all_kinds_give_metres(tmp_path, data, name):
    (tmp_path / name).write_bytes(data)
    depth = read_depth(tmp_path / name, 1000.0)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, METRES)


def member(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("a.npy", data)
    return file.getvalue()


LYING = npy(METRES).replace(b"(2, 3)", b"(99999999999, 9)")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        npy(METRES)[:-1],
        npz(depth=METRES)[:-40],
        LYING,
        member(LYING),
        member(bytes(1 << 20)),
        member(b""),
        npy(np.array([[None, 1]], object)),
    ],
)
def test_damaged_arrays_are_told(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(InputError, match=r"a readable image.*a\.npy"):
        read_depth(tmp_path / "a.npy", 1000.0)


@pytest.mark.parametrize(
    "data",
    [
        image(np.zeros((2, 3, 3), np.uint8), "WEBP"),
        image(np.zeros((2, 3), np.uint8), "PNG"),
        npy(METRES > 1),
        npy(np.zeros((2, 3, 3), np.uint16)),
        npy(METRES + 1j),
    ],
)
def test_what_holds_no_depth_is_told(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"16-bit single-channel.*JPEG and WebP"):
        read_depth(tmp_path / "a.png", 1000.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("channels", [["Z"], ["R", "G", "B"], ["A", "view.Depth.Z"]])
def test_exr(tmp_path, channels, dtype):
    arrays = {name: METRES if name[-1] in "ZRGB" else 9 * METRES for name in channels}
    path = exr(tmp_path, arrays, dtype)
    np.testing.assert_array_equal(read_depth(path, 1000.0), METRES)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"a readable image.*a\.exr"):
        read_depth(path, 1000.0)


def test_without_its_package_exr_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(40))
    with pytest.raises(InputError, match=r"package OpenEXR.*pip install.*exr"):
        read_depth(tmp_path / "a.exr", 1000.0)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([npy(METRES), npz(a=METRES), image(MILLIMETRES, "PNG")]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6))),
    st.floats(0, 1),
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, changes, kept):
    data = bytearray(data)
    for where, value in changes:
        place = int(where * len(data))
        data[place : place + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz_depth"
    path.write_bytes(data[: int(np.ceil(kept * len(data)))])
    with contextlib.suppress(InputError):
        assert read_depth(path, 1000.0).size < 1 << 26
