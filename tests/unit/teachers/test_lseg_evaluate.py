"""Multi-scale evaluation: where cells lie, windows, scales, mirror images, any size."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sas_jax.errors import InputError
from sas_jax.teachers.lseg import evaluate as batches
from sas_jax.teachers.lseg.config import LSegConfig
from sas_jax.teachers.lseg.evaluate import BLACK

SMALL = LSegConfig(base_size=192, crop_size=192, flip=False)
SIZES = [(97, 131), (131, 97), (48, 64), (1, 1), (400, 7), (300, 300)]
LINE = (1, 150)


def evaluate(network, image, config):
    """Return the vectors of a batch of one."""
    return batches.evaluate(network, image, config)[0]


def cells(images):
    """Stand in for the network: each cell is the mean of its 2 x 2 pixels."""
    return functional.avg_pool2d(images, 2)


def ramp(height, width):
    """Return an image of where each pixel's middle lies: column, row, and ones."""
    rows = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    columns = ((torch.arange(width) + 0.5) / width)[None].expand(height, width)
    return torch.stack([columns, rows, torch.ones(height, width)])[None]


def shares(grid):
    """Return where the middles of a grid's cells lie."""
    return ramp(*grid)[0, :2]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("crop", [192, 96, 64])
@pytest.mark.parametrize("scale", [1.0, 0.6, 1.37])
def test_cells_lie_where_they_say(size, crop, scale):
    config = LSegConfig(
        base_size=192, crop_size=crop, scales=(scale,), flip=False, normalise=False
    )
    found = evaluate(cells, ramp(*size), config)
    assert max(found.shape[1:]) == 96
    # Corner-aligned resizing moves pixels by up to half of one; at borders a cell that
    # is half padding takes its neighbour's vector.
    error = (found[:2] - shares(found.shape[1:])).abs()
    for axis, pixels, count in zip((0, 1), size[::-1], found.shape[:0:-1], strict=True):
        allowed = 0.51 / pixels + 0.8 / count / min(1, scale)
        assert pixels == 1 or (error[axis] <= allowed).all()
    assert (found[2] > 0.999).all()  # no padding in it


@pytest.mark.parametrize("size", [*SIZES, LINE])
@pytest.mark.parametrize("crop", [96, 64, 32])
def test_windows_join_without_a_seam(size, crop):
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    config = LSegConfig(base_size=192, crop_size=crop, flip=False)
    # The stand-in looks at nothing outside a cell, so windows make no difference.
    torch.testing.assert_close(
        evaluate(cells, image, config), evaluate(cells, image, SMALL)
    )


def test_windows_are_averaged():
    seen = []

    def number(images):
        assert images.shape[2:] == (96, 96)
        seen.append(images)
        return torch.full((1, 1, 48, 48), float(len(seen)))

    config = LSegConfig(base_size=192, crop_size=96, flip=False)
    found = evaluate(number, torch.zeros(1, 3, 96, 192), config)
    # Windows begin at pixels 0, 64 and 128; the last one is padded.
    assert len(seen) == 3
    middles = found[0, 0, [0, 31, 32, 47, 48, 63, 64, 79, 80, 95]]
    assert middles.tolist() == [1, 1, 1.5, 1.5, 2, 2, 2.5, 2.5, 3, 3]
    assert (seen[2][..., 64:] == BLACK).all() and (seen[2][..., :64] == 0).all()


def test_a_small_image_is_padded_in_black_to_a_square():
    seen = []

    def look(images):
        seen.append(images)
        return cells(images)

    evaluate(look, torch.zeros(1, 3, 50, 100), SMALL)
    (images,) = seen
    assert images.shape == (1, 3, 192, 192)
    assert (images[:, :, :96] == 0).all() and (images[:, :, 96:] == BLACK).all()


def test_mirror_images_are_added_where_they_belong():
    image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    once = evaluate(cells, image, SMALL)
    both = evaluate(cells, image, LSegConfig(base_size=192, crop_size=192, flip=True))
    torch.testing.assert_close(both, 2 * once)


def test_scales_are_added():
    image = ramp(96, 128)
    scales = (0.5, 1.0, 1.5)
    parts = [
        evaluate(
            cells,
            image,
            LSegConfig(base_size=192, crop_size=96, scales=(scale,), flip=False),
        )
        for scale in scales
    ]
    whole = evaluate(
        cells,
        image,
        LSegConfig(base_size=192, crop_size=96, scales=scales, flip=False),
    )
    torch.testing.assert_close(whole, sum(parts))


def test_unit_vectors_on_demand():
    image = torch.randn(1, 3, 97, 131, generator=torch.Generator().manual_seed(2))
    config = LSegConfig(base_size=192, crop_size=192, normalise=True)
    lengths = evaluate(cells, image, config).norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_both_ways_are_one_where_the_output_has_the_images_size():
    image = torch.randn(1, 3, 240, 320, generator=torch.Generator().manual_seed(3))
    official = evaluate(cells, image, LSegConfig(compat="official"))
    assert official.shape == (3, 240, 320)
    assert torch.equal(official, evaluate(cells, image, LSegConfig()))


@pytest.mark.parametrize(
    ("size", "shape"), [((96, 128), (96, 96)), ((20, 30), (20, 30)), ((1, 1), (1, 1))]
)
def test_the_official_way_takes_the_first_rows_and_columns(size, shape):
    config = LSegConfig("official", base_size=192, crop_size=192, flip=False)
    found = evaluate(cells, ramp(*size), config)
    whole = evaluate(cells, ramp(*size), SMALL)
    assert found.shape[1:] == shape
    rows, columns = (min(a, b) for a, b in zip(shape, whole.shape[1:], strict=True))
    assert torch.equal(found[:, :rows, :columns], whole[:, :rows, :columns])


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"crop_size": 100}, "multiple of 32"),
        ({"crop_size": 0}, "lseg_crop_size"),
        ({"base_size": 1}, "lseg_base_size"),
        ({"scales": ()}, "scales"),
        ({"scales": (1.0, float("nan"))}, "lseg_scales"),
        ({"scales": (0.0,)}, "lseg_scales"),
        ({"compat": "official", "scales": (1.0, 1.5)}, "compat=official"),
        ({"compat": "official", "base_size": 1280}, "compat=official"),
        ({"compat": "papers"}, "compat"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fault, named):
    with pytest.raises(InputError, match=named):
        LSegConfig(**fault)


def test_a_grid_is_no_larger_than_half_the_base():
    rng = np.random.default_rng(4)
    for _ in range(50):
        size = tuple(int(n) for n in rng.integers(1, 400, 2))
        found = evaluate(cells, torch.zeros(1, 3, *size), SMALL)
        assert max(found.shape[1:]) == 96 and min(found.shape[1:]) >= 1


@pytest.mark.parametrize("crop", [192, 96])
def test_images_of_a_batch_are_looked_at_alike(crop):
    images = torch.randn(3, 3, 97, 131, generator=torch.Generator().manual_seed(1))
    config = LSegConfig(base_size=192, crop_size=crop, scales=(0.6, 1.0))
    found = batches.evaluate(cells, images, config)
    for image, one in zip(images, found, strict=True):
        torch.testing.assert_close(one, evaluate(cells, image[None], config))
