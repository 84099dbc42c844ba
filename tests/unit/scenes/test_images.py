"""Colour and depth images of any kind: the pixels that a viewer shows."""

import numpy as np
import pytest
from PIL import Image
from scene_files import exif

from sas_jax.errors import InputError
from sas_jax.scenes.depth_files import read_depth
from sas_jax.scenes.images import exif_orientation, read_color

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
GREY = RGB[..., 0]
# EXIF orientation -> what a viewer does with the stored pixels.
SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def grey(values):
    return np.repeat(values[..., None], 3, axis=2)


def test_sixteen_bit_grey_gives_its_high_byte(tmp_path):
    stored = np.array([[0, 255, 256, 32896], [65535, 4095, 51400, 1]], np.uint16)
    color = read_color(save(tmp_path / "a.png", stored))
    np.testing.assert_array_equal(color, grey(stored >> 8))
    eight = read_color(save(tmp_path / "b.png", (GREY.astype(np.uint16) * 257)))
    np.testing.assert_array_equal(eight, grey(GREY))


@pytest.mark.parametrize("kind", [np.int32, np.float32, ">u2"])
def test_other_grey_of_many_bits(tmp_path, kind):
    values = GREY.astype(np.float64)
    stored = values / 255 if kind is np.float32 else values * 257
    path = tmp_path / "a.png"
    if kind == ">u2":
        rows = stored.astype(kind).tobytes()
        path.write_bytes(b"P5 8 6 65535\n" + rows)
    else:
        save(path, stored.astype(kind), format="TIFF")
    np.testing.assert_array_equal(read_color(path), grey(GREY))


def test_eight_bits_of_any_mode(tmp_path):
    path = tmp_path / "a.png"
    np.testing.assert_array_equal(read_color(save(path, RGB)), RGB)
    np.testing.assert_array_equal(read_color(save(path, GREY)), grey(GREY))
    alpha = np.dstack([RGB, np.full(GREY.shape, 7, np.uint8)])
    np.testing.assert_array_equal(read_color(save(path, alpha)), RGB)
    np.testing.assert_array_equal(read_color(save(path, GREY, "LA")), grey(GREY))
    few = RGB[:2, :2].repeat(3, 0).repeat(4, 1)
    palette = Image.fromarray(few).quantize(8)
    palette.save(path)
    np.testing.assert_array_equal(read_color(path), few)
    palette.save(path, transparency=0)
    np.testing.assert_array_equal(read_color(path), few)
    black = GREY > 128
    np.testing.assert_array_equal(
        read_color(save(path, black)), grey(np.uint8(255) * black)
    )


@pytest.mark.parametrize("kind", ["png", "jpg", "grey16"])
@pytest.mark.parametrize("orientation", [*SHOWN, 0, 9])
def test_pixels_are_upright_or_as_stored(tmp_path, orientation, kind):
    stored = GREY.astype(np.uint16) * 257 if kind == "grey16" else RGB
    path = tmp_path / f"a.{'jpg' if kind == 'jpg' else 'png'}"
    save(path, stored)
    plain = read_color(path)
    save(path, stored, exif=exif(orientation))
    turned = SHOWN.get(orientation, SHOWN[1])(plain)
    np.testing.assert_array_equal(read_color(path), turned)
    np.testing.assert_array_equal(read_color(path, upright=False), plain)
    assert exif_orientation(path) == (orientation if orientation in SHOWN else 1)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_data_counts_as_none(tmp_path):
    path = tmp_path / "a.jpg"
    save(path, RGB, exif=exif(6))
    data = path.read_bytes()
    start = data.index(b"Exif") + 6
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[start + rng.integers(0, 26)] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        assert exif_orientation(path) in SHOWN
        assert read_color(path, upright=False).shape == RGB.shape
        assert sorted(read_color(path).shape) == sorted(RGB.shape)
    path.write_bytes(b"")
    assert exif_orientation(path) == exif_orientation(tmp_path / "none.jpg") == 1


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
@pytest.mark.parametrize("scale", [1.0, 1000.0, 5000.0])
def test_float_depth_is_metres_whatever_the_scale(tmp_path, name, scale):
    metres = np.float32([[0.5, 2, np.nan], [-1, np.inf, 8]])
    path = tmp_path / name
    save(path, metres, format="TIFF")
    expected = [[0.5, 2, 0], [0, 0, 8]]
    np.testing.assert_array_equal(read_depth(path, scale), np.float32(expected))
    save(path, np.zeros((2, 2), np.float32), format="TIFF")
    assert not read_depth(path, scale).any()


def test_float_depth_in_millimetres_follows_the_scale(tmp_path):
    path = save(tmp_path / "a.png", np.float32([[500, 2000], [0, 8000]]), format="TIFF")
    depth = read_depth(path, 1000.0)
    np.testing.assert_array_equal(depth, np.float32([[0.5, 2], [0, 8]]))


def test_depth_of_integers(tmp_path):
    millimetres = np.array([[500, 0], [65534, 1]], np.uint16)
    depth = read_depth(save(tmp_path / "a.png", millimetres), 1000.0)
    np.testing.assert_array_equal(depth, millimetres / np.float32(1000))
    with pytest.raises(InputError, match=r"16-bit single-channel.*a\.png"):
        read_depth(save(tmp_path / "a.png", RGB), 1000.0)
