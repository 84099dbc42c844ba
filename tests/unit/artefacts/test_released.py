"""Published features become ours, every part and every form of them, or are refused."""

import numpy as np
import pytest
from text_spaces import point_features, space

from sas_jax.artefacts import released
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import InputError

NUM_POINTS, CHANNELS = 40, 8


@pytest.fixture
def bank():
    """Features of all points, of which the last five are not seen."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(NUM_POINTS, CHANNELS)).astype(np.float16)


def write_part(path, bank, drawn, *, legacy=None):
    """Write the points `drawn`, seen below 35, as OpenScene does."""
    seen = np.arange(NUM_POINTS) < 35
    drawn = np.isin(np.arange(NUM_POINTS), drawn)
    if legacy is None:
        data = {"feat": bank[drawn & seen], "mask_full": drawn & seen}
    else:
        mask = seen[drawn]
        mask = np.flatnonzero(mask) if legacy == "indices" else mask
        feat = bank[drawn][..., None] if legacy == "third axis" else bank[drawn]
        data = {"feat": feat, "mask": mask, "mask_full": drawn}
    write_torch(path, data)
    return path


def read(*paths, space_of=space):
    return released.read_features(paths, NUM_POINTS, space_of)


@pytest.mark.parametrize("legacy", [None, "bools", "indices", "third axis"])
def test_parts_are_merged(tmp_path, bank, legacy):
    draws = [np.arange(0, 20), np.arange(10, 30, 2), np.arange(25, 40)]
    for k, drawn in enumerate(draws):
        write_part(tmp_path / f"scene0_{k}.pt", bank, drawn, legacy=legacy)
    write_part(tmp_path / "scene0_00_0.pt", bank, [1])  # of another scene
    write_part(tmp_path / "scene01_0.pt", bank, [1])
    files = released.feature_files(tmp_path, "scene0")
    assert [path.name for path in files] == [f"scene0_{k}.pt" for k in range(3)]
    features = read(*files)
    expected = sorted({i for drawn in draws for i in drawn if i < 35})
    assert features.point_index.tolist() == expected
    np.testing.assert_array_equal(features.feat, bank[expected])
    assert features.space.dim == CHANNELS and features.level == "point"


def test_files_of_a_scene(tmp_path, bank):
    write_part(tmp_path / "a[1].pt", bank, [1])
    for k in (10, 2, 0):
        write_part(tmp_path / f"b[1]_{k}.pt", bank, [1])
    names = [path.name for path in released.feature_files(tmp_path, "b[1]")]
    assert names == ["b[1]_0.pt", "b[1]_2.pt", "b[1]_10.pt"]
    assert [p.name for p in released.feature_files(tmp_path, "a[1]")] == ["a[1].pt"]
    assert released.feature_files(tmp_path, "c") == []
    (tmp_path / "b_vh_clean_2.pth").touch()
    found = released.superpoint_file(tmp_path, "b")
    assert found == tmp_path / "b_vh_clean_2.pth"
    assert released.superpoint_file(tmp_path, "c") is None


def test_of_a_point_in_two_parts_the_first_counts(tmp_path, bank):
    first = write_part(tmp_path / "s_0.pt", bank, [1, 2])
    second = write_part(tmp_path / "s_1.pt", 2 * bank, [2, 3])
    features = read(first, second)
    np.testing.assert_array_equal(features.feat[:2], bank[1:3])
    np.testing.assert_array_equal(features.feat[2], 2 * bank[3])


def test_features_survive_the_round_trip(tmp_path, bank):
    index = np.arange(3, 30, 3)
    ours = point_features(bank[index], index, np.ones(9, np.int32), NUM_POINTS)
    released.write_features(tmp_path / "s_0.pt", ours)
    content = read_torch(tmp_path / "s_0.pt")
    assert list(content) == ["feat", "mask_full"]
    assert content["feat"].dtype == np.float16 and content["mask_full"].dtype == bool
    back = read(tmp_path / "s_0.pt")
    np.testing.assert_array_equal(back.feat, ours.feat)
    np.testing.assert_array_equal(back.row, ours.row)


FEAT, SEEN = np.ones((3, CHANNELS), np.float16), np.arange(NUM_POINTS) < 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"feat": FEAT, "mask_full": SEEN[:-1]}, "each of 40 points"),
        ({"feat": FEAT[:2], "mask_full": SEEN}, r"3 rows.*got \[2, 8\]"),
        ({"feat": FEAT.astype(int), "mask_full": SEEN}, "got.*int64"),
        ({"feat": FEAT * np.inf, "mask_full": SEEN}, "3 of 3 that are not"),
        ({"feat": FEAT[0], "mask_full": SEEN}, r"\[8\]"),
        ({"feat": FEAT, "mask_full": SEEN.astype(float)}, "float64"),
        ({"feat": FEAT}, "got feat"),
        ({"feat": FEAT, "mask": SEEN}, "got feat, mask"),
        ({"feat": FEAT, "mask_full": SEEN, "mask": np.array([3])}, "indices below"),
        ({"feat": FEAT, "mask_full": SEEN, "mask": np.array([-1])}, "indices below"),
        ({"feat": FEAT, "mask_full": SEEN, "mask": SEEN}, "a mask of 3 points"),
        ({"feat": FEAT, "mask_full": SEEN, "mask": np.ones(3)}, "float64"),
    ],
)
def test_other_features_are_refused(tmp_path, data, said):
    write_torch(tmp_path / "s_0.pt", data)
    with pytest.raises(InputError, match=rf"(?s)import: .*{said}.*s_0\.pt"):
        read(tmp_path / "s_0.pt")


def test_parts_of_other_channels_are_refused(tmp_path, bank):
    paths = [write_part(tmp_path / f"s_{k}.pt", bank[:, : 8 - k], [1]) for k in (0, 1)]
    with pytest.raises(InputError, match="8 channels is required, got 7"):
        read(*paths)


def test_a_tensor_instead_of_a_dict_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.ones(3), tmp_path / "s_0.pt")
    with pytest.raises(InputError, match="got ndarray"):
        read(tmp_path / "s_0.pt")


def test_superpoints_texts_and_capability(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "file.pth"
    torch.save(np.array([7, 2, 7, 4]), path)
    assert released.read_superpoints(path, 4).tolist() == [2, 0, 2, 1]
    for wrong in (np.array([0, -1, 0, 0]), np.zeros(4), np.arange(5), "text", [1]):
        torch.save(wrong, path)
        with pytest.raises(InputError, match=r"one superpoint id >= 0.*file\.pth"):
            released.read_superpoints(path, 4)

    rows = torch.nn.functional.normalize(torch.randn(3, CHANNELS), dim=1)
    torch.save(rows.half(), path)
    found = released.read_texts(path, 3, space(CHANNELS))
    np.testing.assert_allclose(found.rows, rows.numpy(), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found.rows, axis=1), 1, rtol=1e-6)
    for wrong in (rows[:2], 2 * rows, rows * np.nan, rows.long(), [rows]):
        torch.save(wrong, path)
        with pytest.raises(InputError, match=r"vectors|unit"):
            released.read_texts(path, 3, space(CHANNELS))

    path = tmp_path / "lseg_miou.npy"
    np.save(path, np.array([0.5, 0.25, 0.0]))
    assert released.read_capability(path, 3).tolist() == [0.5, 0.25, 0.0]
    pickled = np.array([0.5, None, 0.0], object)
    for wrong in (np.zeros(4), np.array([1.5, 0, 0]), np.zeros((3, 1)), pickled):
        np.save(path, wrong, allow_pickle=True)
        with pytest.raises(InputError, match=r"lseg_miou\.npy"):
            released.read_capability(path, 3)
    for content in (b"", b"text", path.read_bytes()[:50]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"lseg_miou\.npy"):
            released.read_capability(path, 3)
    np.save(path, np.array([np.nan, 0, 0]))
    with pytest.raises(InputError, match=r"0\.\.1"):
        released.read_capability(path, 3)
