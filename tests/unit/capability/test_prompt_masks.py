"""Points inside coarse masks, and GrabCut as a point prompter."""

import formulas
import numpy as np
import pytest
from scipy import ndimage

from sas_jax.capability.contracts import MaskConfig
from sas_jax.capability.grabcut import GrabCutConfig, GrabCutPrompter
from sas_jax.capability.prompt_masks import coarse_mask, pseudo_masks, sample_points
from sas_jax.errors import ContractError

OPEN = MaskConfig(border_px=0)


def rectangles(*boxes, size=64):
    mask = np.zeros((size, size), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def part_of(point, boxes):
    for index, (top, left, bottom, right) in enumerate(boxes):
        if top <= point[0] < bottom and left <= point[1] < right:
            return index
    return None


def depth_inside(mask):
    """Distance of every pixel to the nearest one outside, by trying them all."""
    padded = np.pad(mask, 1)
    outside = np.argwhere(~padded)
    rows, cols = np.indices(padded.shape)
    grid = np.stack([rows, cols], -1).reshape(-1, 1, 2)
    distance = np.sqrt(((grid - outside) ** 2).sum(-1).min(1)).reshape(padded.shape)
    return distance[1:-1, 1:-1]


def test_threshold_is_strict():
    heat = np.array([[0.7, 0.71], [0.69, 1.0]], np.float32)
    wanted = [[False, True], [False, True]]
    assert coarse_mask(heat, MaskConfig(threshold=0.7)).tolist() == wanted


@pytest.mark.parametrize(
    ("boxes", "shares"),
    [
        ([(10, 10, 40, 50)], [3]),
        ([(5, 5, 15, 15), (20, 20, 60, 60)], [1, 2]),
        ([(2, 2, 20, 20), (2, 30, 26, 60), (40, 40, 60, 60)], [1, 1, 1]),
        ([(2, 2, 20, 20), (2, 30, 26, 60), (40, 40, 60, 60), (50, 2, 55, 7)],
         [1, 1, 1, 0]),
    ],
)  # fmt: skip
def test_points_are_shared_among_the_largest_parts(boxes, shares):
    points = sample_points(rectangles(*boxes), OPEN)
    found = [part_of(point, boxes) for point in points]
    assert None not in found
    assert [found.count(i) for i in range(len(boxes))] == shares


def test_first_point_is_deepest_and_points_differ():
    mask = rectangles((10, 12, 41, 30), (30, 12, 50, 55))
    points = sample_points(mask, OPEN)
    depth = depth_inside(mask)
    assert depth[tuple(points[0])] == depth.max()
    assert len({tuple(p) for p in points.tolist()}) == 3
    assert mask[points[:, 0], points[:, 1]].all()


def test_no_point_lies_in_the_border():
    points = sample_points(rectangles((0, 0, 64, 20)), MaskConfig())
    rim = round(70 / 512 * 64)
    assert (points >= rim).all()
    assert (points < 64 - rim).all()


@pytest.mark.parametrize("size", [64, 512])
def test_an_empty_map_gives_points_near_the_centre(size):
    points = sample_points(np.zeros((size, size), bool))
    assert len(points) == 3
    assert (np.abs(points / size - 0.5) < 0.05).all()


def test_tiny_parts_give_fewer_points_instead_of_the_same_twice():
    points = sample_points(rectangles((30, 30, 31, 32)), MaskConfig(min_pixels=0))
    assert points.tolist() == [[30, 30], [30, 31]]


def test_a_mask_of_wrong_shape_is_refused():
    with pytest.raises(ContractError, match=r"\[H, W\]"):
        sample_points(np.zeros((2, 4, 4), bool))


def colored_disc(size=64):
    rows, cols = np.indices((size, size))
    disc = (rows - 30) ** 2 + (cols - 34) ** 2 < 18**2
    rng = np.random.default_rng(0)
    image = np.where(disc[..., None], (200, 60, 40), (70, 90, 160))
    noisy = image + rng.normal(0, 8, image.shape)
    soft = np.exp(-((rows - 28) ** 2 + (cols - 31) ** 2) / (2 * 14**2))
    return noisy.clip(0, 255).astype(np.uint8), disc, soft.astype(np.float32)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_grabcut_turns_a_blurred_hint_into_the_outline():
    image, disc, soft = colored_disc()
    coarse = coarse_mask(soft, MaskConfig(threshold=0.7))
    refined = GrabCutPrompter().mask(image, sample_points(coarse), soft)
    assert iou(coarse, disc) < 0.5
    assert iou(refined, disc) > 0.95


def test_grabcut_is_deterministic_and_leaves_its_input_alone():
    image, _, soft = colored_disc()
    before, points = image.copy(), np.array([[30, 34]])
    first = GrabCutPrompter().mask(image, points, soft)
    assert (GrabCutPrompter().mask(image, points, soft) == first).all()
    assert (image == before).all()


def test_grabcut_without_background_returns_everything():
    image, _, _ = colored_disc()
    mask = GrabCutPrompter(GrabCutConfig(likely=0.5)).mask(
        image, np.array([[30, 34]]), np.ones((64, 64), np.float32)
    )
    assert mask.all()


def test_pseudo_masks_refine_every_image():
    image, disc, soft = colored_disc()
    flipped = image[:, ::-1].copy(), soft[:, ::-1].copy()
    images, heat = np.stack([image, flipped[0]]), np.stack([soft, flipped[1]])
    coarse, refined = pseudo_masks(images, heat, GrabCutPrompter())
    assert (coarse == (heat > 0.7)).all()
    assert iou(refined[0], disc) > 0.95
    assert iou(refined[1], disc[:, ::-1]) > 0.95


@pytest.mark.parametrize("seed", [14, 43, 51])  # two pixels are equally deep in these
def test_points_do_not_depend_on_where_the_mask_lies_in_memory(seed):
    noise = np.random.default_rng(seed).standard_normal((64, 64))
    mask = ndimage.gaussian_filter(noise, 6) > 0
    others, found = [], set()
    for number in range(60):
        size = np.random.default_rng(number).integers(1, 3000)
        others.append(bytearray(int(size)))  # moves what is allocated next
        found.add(sample_points(mask, OPEN).tobytes())
    assert len(found) == 1


def blobs(seed, size, level):
    noise = np.random.default_rng(seed).standard_normal((size, size))
    smooth = ndimage.gaussian_filter(noise, size / 20)
    return smooth > np.quantile(smooth, level)


def literal(coarse, count=3):
    scale = len(coarse) / 512
    edge = max(1, round(2 * scale))
    seeds = {
        (int(y * scale) + i, int(x * scale) + j)
        for y in (240, 270)
        for x in (240, 270)
        for i in range(edge)
        for j in range(edge)
    }
    few = max(1, 10 * scale**2)
    return formulas.point_prompts(coarse, count, round(70 * scale), few, seeds)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.995])
@pytest.mark.parametrize("size", [64, 96])
def test_points_are_those_of_the_rules_written_out(size, level):
    for seed in range(3):
        coarse = blobs(seed, size, level)
        assert sample_points(coarse).tolist() == [list(p) for p in literal(coarse)]


@pytest.mark.parametrize("parts", range(5))
def test_points_in_images_of_the_authors_size(parts):
    coarse = np.zeros((512, 512), bool)
    boxes = [(80, 90, 12, 15), (300, 200, 14, 9), (400, 430, 7, 8), (200, 350, 4, 4)]
    for top, left, height, width in boxes[:parts]:
        coarse[top : top + height, left : left + width] = True
    coarse[:60, :60] = True  # all of it in the border
    found = sample_points(coarse)
    assert found.tolist() == [list(p) for p in literal(coarse)]
    assert len(found) == 3 and (found >= 70).all() and (found < 442).all()
    if not parts:  # the squares of 2 x 2 around the centre, one point in each of three
        assert found.tolist() == [[240, 240], [240, 270], [270, 240]]
