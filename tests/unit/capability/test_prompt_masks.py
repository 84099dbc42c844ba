"""Points inside coarse masks, GrabCut and SAM as point prompters."""

import copy

import numpy as np
import pytest
import torch
import transformers
from scipy import ndimage
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from sas_jax.capability.contracts import MaskConfig
from sas_jax.capability.grabcut import GrabCutConfig, GrabCutPrompter
from sas_jax.capability.prompt_masks import coarse_mask, pseudo_masks, sample_points
from sas_jax.capability.sam import SamPrompter
from sas_jax.errors import ContractError, WeightsMissing

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


def tiny_sam():
    torch.manual_seed(0)
    vision = transformers.SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=64,
        patch_size=8,
        mlp_dim=64,
        num_pos_feats=8,
        window_size=4,
        global_attn_indexes=[1],
    )
    prompt = transformers.SamPromptEncoderConfig(
        hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4
    )
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=16,
        mlp_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        iou_head_hidden_dim=16,
        iou_head_depth=2,
    )
    config = transformers.SamConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompt.to_dict(),
        mask_decoder_config=decoder.to_dict(),
    )
    processor = transformers.SamProcessor(
        SamImageProcessorPil(
            size={"longest_edge": 64},
            pad_size={"height": 64, "width": 64},
            mask_size={"longest_edge": 16},
            mask_pad_size={"height": 16, "width": 16},
        )
    )
    return transformers.SamModel(config).eval(), processor


def test_sam_gets_rgb_and_points_as_x_y():
    model, processor = tiny_sam()
    image = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)
    points = np.array([[12, 10], [20, 40], [30, 60]])
    inputs = processor(
        image,
        input_points=[[[[10, 12], [40, 20], [60, 30]]]],
        input_labels=[[[1, 1, 1]]],
        return_tensors="pt",
    )
    with torch.no_grad():
        output = model(**inputs, multimask_output=False)
    wanted = processor.image_processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0][0, 0]
    seen = {}
    model.vision_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(pixels=args[0] if args else kwargs),
        with_kwargs=True,
    )
    mask = SamPrompter(model=model, processor=processor).mask(image, points)
    assert mask.shape == (48, 80)
    assert mask.dtype == bool
    assert (mask == wanted.numpy()).all()
    torch.testing.assert_close(seen["pixels"], inputs["pixel_values"])


def test_sam_without_weights_says_what_to_do(tmp_path):
    prompter = SamPrompter(source=str(tmp_path / "nothing"))
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(WeightsMissing, match="hf download"):
        prompter.mask(image, np.array([[4, 4]]))


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


def test_what_sam_is_follows_its_weights_and_not_its_name(tmp_path):
    model, processor = tiny_sam()
    first = SamPrompter(source="a", model=model, processor=processor).spec
    assert SamPrompter(source="b", model=model, processor=processor).spec == first
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    assert SamPrompter(source="a", model=other, processor=processor).spec != first
    settings = copy.deepcopy(model)
    settings.config.vision_config.hidden_act = "relu"
    assert SamPrompter(source="a", model=settings, processor=processor).spec != first
    images = copy.deepcopy(processor)
    images.image_processor.do_normalize = not images.image_processor.do_normalize
    assert SamPrompter(source="a", model=model, processor=images).spec != first
    with pytest.raises(WeightsMissing, match="hf download"):
        _ = SamPrompter(source=str(tmp_path / "nothing")).spec
