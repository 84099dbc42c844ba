import formulas
import numpy as np
import pytest
from text_spaces import space

from sas_jax.errors import ContractError, InputError
from sas_jax.lifting import lift
from sas_jax.lifting.config import LiftConfig
from sas_jax.lifting.lift import VOID, Lifter, MaskFeatures

HW = (12, 16)


def random_views(rng, num_points, num_views):
    for _ in range(num_views):
        pixel = rng.integers(0, HW, (num_points, 2)).astype(np.int32)
        yield pixel, rng.random(num_points) < 0.4


@pytest.mark.parametrize("compat", ["paper", "official"])
@pytest.mark.parametrize("masks", [False, True])
def test_the_mean_over_views_equals_the_formula(monkeypatch, compat, masks):
    monkeypatch.setattr(lift, "_ROWS_AT_ONCE", 7)  # several blocks per frame
    rng = np.random.default_rng(0)
    lifter, views = Lifter(50, space(5), compat), []
    for pixel, visible in random_views(rng, 50, 4):
        image = rng.normal(size=(*HW, 5)).astype(np.float16)
        written = list(map(list, image))
        if masks:
            codebook = image[0, :3]
            index = rng.integers(VOID, len(codebook), HW)
            image = MaskFeatures(codebook, index)
            written = [[None if i == VOID else codebook[i] for i in r] for r in index]
        lifter.add(pixel, visible, image, image_hw=HW)
        pairs = zip(pixel, visible, strict=True)
        views.append(([tuple(at) if seen else None for at, seen in pairs], written))
    result = lifter.result()
    means, counts = formulas.view_means(views, 50, 5, compat)
    seen = [p for p in range(50) if counts[p]]
    assert 0 < len(seen) < 50
    np.testing.assert_array_equal(result.point_index, seen)
    np.testing.assert_array_equal(result.counts, [counts[p] for p in seen])
    wanted = [means[p] for p in seen]
    np.testing.assert_allclose(result.feat, wanted, rtol=2**-10, atol=2**-10)
    assert result.feat.dtype == np.float16 and result.num_points == 50


def test_seen_by_nobody():
    lifter = Lifter(3, space(2))
    pixel = np.zeros((3, 2), np.int32)
    lifter.add(pixel, np.zeros(3, bool), np.ones((*HW, 2), np.float16), image_hw=HW)
    for result in (lifter.result(), Lifter(3, space(2)).result()):
        assert result.feat.shape == (0, 2)
        assert result.num_points == 3 and not result.seen.any()
        np.testing.assert_array_equal(result.dense(), np.zeros((3, 2)))


@pytest.mark.parametrize("grid_hw", [(6, 8), (3, 4), (12, 16), (5, 7), (24, 32)])
def test_coarse_grids_take_the_cell_of_the_pixel_centre(grid_hw):
    rows, columns = np.mgrid[0 : HW[0], 0 : HW[1]]
    pixel = np.stack([rows, columns], -1).reshape(-1, 2).astype(np.int32)
    image = np.arange(np.prod(grid_hw), dtype=np.float32).reshape(*grid_hw, 1)
    lifter = Lifter(len(pixel), space(1))
    lifter.add(pixel, np.ones(len(pixel), bool), image, image_hw=HW)
    centre = (pixel + 0.5) * np.array(grid_hw) / np.array(HW)
    row, column = np.floor(centre).astype(int).T
    np.testing.assert_array_equal(lifter.result().feat[:, 0], image[row, column, 0])


def test_coded_equals_dense_where_masks_cover_everything():
    rng = np.random.default_rng(1)
    codebook = rng.normal(size=(4, 6)).astype(np.float16)
    index = rng.integers(0, 4, (6, 8))
    dense, coded = Lifter(30, space(6)), Lifter(30, space(6))
    for pixel, visible in random_views(rng, 30, 3):
        dense.add(pixel, visible, codebook[index], image_hw=HW)
        coded.add(pixel, visible, MaskFeatures(codebook, index), image_hw=HW)
    a, b = dense.result(), coded.result()
    np.testing.assert_array_equal(a.feat, b.feat)
    np.testing.assert_array_equal(a.counts, b.counts)


@pytest.mark.parametrize(
    ("compat", "counts", "feature"),
    [("paper", [1, 1], 4.0), ("official", [2, 1, 1], 2.0)],
)
def test_void_is_no_view_in_the_paper_and_zeros_officially(compat, counts, feature):
    pixel = np.array([[0, 0], [0, 1], [1, 0]], np.int32)
    visible = np.array([True, False, True])
    lifter = Lifter(3, space(1), compat)
    code = np.full((1, 1), 4, np.float16)
    masks = np.array([[0, 0], [VOID, VOID]])
    lifter.add(pixel, visible, MaskFeatures(code, masks), image_hw=(2, 2))
    lifter.add(pixel, ~visible, MaskFeatures(code, masks), image_hw=(2, 2))
    first = np.array([True, False, False])
    lifter.add(pixel, first, MaskFeatures(code, masks[::-1]), image_hw=(2, 2))
    result = lifter.result()
    np.testing.assert_array_equal(result.counts, counts)
    assert result.feat[0, 0] == feature
    if compat == "official":
        assert result.feat[2, 0] == 0


def test_image_without_any_mask():
    lifter = Lifter(2, space(3))
    empty = MaskFeatures(np.zeros((0, 3), np.float16), np.full(HW, VOID))
    lifter.add(np.zeros((2, 2), np.int32), np.ones(2, bool), empty, image_hw=HW)
    assert len(lifter.result().point_index) == 0


def test_bad_input_is_refused():
    pixel, visible = np.zeros((2, 2), np.int32), np.ones(2, bool)
    with pytest.raises(ContractError, match="3 channels, got 4"):
        Lifter(2, space(3)).add(pixel, visible, np.zeros((*HW, 4)), image_hw=HW)
    with pytest.raises(ContractError, match=r"pixel \[5, 2\]"):
        Lifter(5, space(3)).add(pixel, visible, np.zeros((*HW, 3)), image_hw=HW)
    with pytest.raises(ContractError, match="size_hw"):
        Lifter(2, space(3)).add(pixel + 12, visible, np.zeros((*HW, 3)), image_hw=HW)
    with pytest.raises(ContractError, match=r"-1\.\.1, got -1\.\.2"):
        MaskFeatures(np.zeros((2, 3), np.float16), np.array([[-1, 2]]))
    for bad in (np.nan, np.inf, 1e30):
        lifter = Lifter(2, space(3))
        lifter.add(pixel, visible, np.full((*HW, 3), bad, np.float32), image_hw=HW)
        with pytest.raises(InputError, match="finite in float16, got 2 points"):
            lifter.result()


def test_thresholds_of_paper_and_code():
    assert LiftConfig().threshold == 0.2
    assert LiftConfig(compat="official").threshold == 0.25
    assert LiftConfig(0.02, compat="official").threshold == 0.02
