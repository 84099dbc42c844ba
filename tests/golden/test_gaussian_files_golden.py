"""Readers of Gaussians return what independent decoders of the same files did."""

import gzip

import numpy as np
import pytest

from sas_jax.gaussians.files.formats import read_splats
from sas_jax.gaussians.files.spz import write_spz

PLAIN = ("3dgs_sh0.ply", "3dgs_sh1.ply", "3dgs_sh3.ply")
GSPLAT = ("gsplat_params.npz", "gsplat_ckpt.pt")
# Relative rounding of f32: of one operation, and of exp, log and square roots.
ROUNDED, FUNCTION = 2.0**-24, 4 * 2.0**-24


@pytest.fixture(scope="module")
def formats(gaussians_golden):
    return gaussians_golden / "formats"


@pytest.fixture(scope="module")
def expected(formats):
    with np.load(formats / "expected.npz") as found:
        return {name: found[name].astype(np.float64) for name in found.files}


def read(formats, name):
    if not (formats / name).is_file():
        pytest.skip(f"{name} is not among the small golden files")
    return read_splats(formats / name)


def same(splats, means, logs, quats, opacities, dc, rest):
    """Compare a file's Gaussians with what was put in, before activation."""
    unit = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    np.testing.assert_allclose(splats.means, means, rtol=ROUNDED, atol=4e-7)
    np.testing.assert_allclose(np.log(splats.scales), logs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(splats.opacities, opacities, rtol=0, atol=FUNCTION)
    np.testing.assert_allclose(splats.sh[:, 0], dc, rtol=0, atol=1e-6)
    kept = splats.sh.shape[1] - 1
    np.testing.assert_allclose(splats.sh[:, 1:], rest[:, :kept], rtol=0, atol=1e-7)
    turn = np.sign(np.sum(unit * splats.rotations, axis=1, keepdims=True))
    np.testing.assert_allclose(splats.rotations * turn, unit, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", PLAIN + GSPLAT)
def test_files_of_raw_parameters(formats, expected, name):
    splats = read(formats, name)
    opacities = 1 / (1 + np.exp(-expected["logit_opacity"]))
    rest = expected["sh_rest"]
    raw = (expected[k] for k in ("means", "log_scales", "quats_wxyz_raw"))
    same(splats, *raw, opacities, expected["f_dc"], rest)
    assert splats.degree == (int(name[7]) if name in PLAIN else 3)


@pytest.mark.parametrize(
    ("name", "values", "rotations"),
    [
        ("playcanvas_compressed_sh3.ply", "pc", "pc"),
        ("sample_v2.spz", "spz", "spz2"),
        ("sample_v3.spz", "spz", "spz3"),
    ],
)
def test_compressed_files(formats, expected, name, values, rotations):
    parts = [expected[f"{values}.{k}"] for k in ("means", "log_scales")]
    parts.append(expected[f"{rotations}.quats_wxyz"])
    parts += [expected[f"{values}.{k}"] for k in ("opacity", "f_dc", "sh_rest")]
    same(read(formats, name), *parts)


@pytest.mark.parametrize("version", [2, 3])
def test_spz_is_written_byte_by_byte(formats, tmp_path, version):
    splats = read(formats, "3dgs_sh3.ply")
    write_spz(tmp_path / "a.spz", splats, version)
    written = gzip.decompress((tmp_path / "a.spz").read_bytes())
    sample = (formats / f"sample_v{version}.spz").read_bytes()
    assert written == gzip.decompress(sample)
