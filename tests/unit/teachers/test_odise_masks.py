"""ODISE's trained parts, through their converter, against an independent walk."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import det_weights
import odise_oracle
import tiny_odise
import torch

from sas_jax.errors import InputError
from sas_jax.teachers.checkpoint import built, fill
from sas_jax.teachers.odise import backbone
from sas_jax.teachers.odise.convert import convert
from sas_jax.teachers.odise.masks import mean_inside
from sas_jax.teachers.odise.network import Trained

CONFIG = tiny_odise.CONFIG


@pytest.fixture(scope="module")
def state():
    taps = built(tiny_odise.diffusion, 0).channels
    shapes = odise_oracle.names(CONFIG, taps, tiny_odise.TOKENS, 12, 32)
    return {
        name: torch.from_numpy(det_weights.tensor(name, shape))
        for name, shape in shapes.items()
    }


def _filled(state, seed=0):
    frozen = built(tiny_odise.diffusion, 0)
    network = built(lambda: Trained(CONFIG, frozen, tiny_odise.TOKENS), seed)
    return fill(network, convert(state), what="odise", path="a file").eval()


@pytest.fixture(scope="module")
def network(state):
    return _filled(state).requires_grad_(False)


def _maps(height, width, seed=0):
    torch.manual_seed(seed)
    return [
        torch.randn(1, CONFIG.pyramid_dim, height // s, width // s)
        for s in (4, 8, 16, 32)
    ]


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (96, 160)])
@torch.no_grad()
def test_masks_and_embeddings_as_a_literal_walk(network, state, size):
    maps = _maps(*size)
    scales, features = odise_oracle.pixels(
        state, maps, CONFIG.heads, CONFIG.encoder_layers
    )
    logits, embeddings = odise_oracle.masks(
        state, scales, features, CONFIG.heads, CONFIG.decoder_layers
    )
    said = network.generator(maps)
    pixels = network.generator.pixel_decoder(maps).mask_features[0]
    torch.testing.assert_close(pixels, features, rtol=0, atol=1e-5)
    bound = 1e-5 * max(1.0, float(logits.abs().max()))
    torch.testing.assert_close(said.logits[0], logits, rtol=0, atol=bound)
    assert 0 < float((logits > 0).float().mean()) < 1
    torch.testing.assert_close(said.embeddings[0], embeddings, rtol=0, atol=1e-5)


@torch.no_grad()
def test_projections_are_summed_per_stride(network, state):
    frozen = built(tiny_odise.diffusion, 0)
    torch.manual_seed(0)
    taps = [
        torch.randn(2, c, 64 // s, 64 // s)
        for c, s in zip(frozen.channels, frozen.strides, strict=True)
    ]
    maps = network.pyramid(taps, 64)

    def projected(i, tap):
        return odise_oracle.bottleneck(
            state, f"backbone.feature_projections.{i}.0", tap
        )

    coarse = torch.nn.functional.interpolate(taps[2], (2, 2), mode="bilinear")
    wanted = [
        projected(0, taps[0]) + projected(7, taps[7]),
        projected(1, taps[1]) + projected(5, taps[5]) + projected(6, taps[6]),
        projected(4, taps[4]),
        projected(2, coarse) + projected(3, taps[3]),
    ]
    for a, b in zip(maps, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_names_of_frozen_models_are_left_out(state):
    more = {"backbone.feature_extractor.ldm_extractor.ldm.x": torch.zeros(1)}
    _filled({**state, **more})


def test_what_is_missing_or_left_over_is_named(state):
    name = "sem_seg_head.predictor.query_feat.weight"
    less = {key: value for key, value in state.items() if key != name}
    with pytest.raises(InputError, match=r"odise: .*1 missing: generator.*queries_f"):
        _filled(less)
    with pytest.raises(InputError, match=r"1 left over: some\.name"):
        _filled({**state, "some.name": torch.zeros(1)})
    with pytest.raises(InputError, match=r"of another shape.*\[3, 5\]"):
        _filled({**state, name: torch.zeros(3, 5)})


def test_the_mean_inside_of_a_mask_pixel_by_pixel():
    torch.manual_seed(0)
    pixels, logits = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5)
    logits[1, 2] = -1.0  # empty
    logits[0, 0, 0, 0] = 0.0  # a probability of a half is outside
    found = mean_inside(pixels, logits)
    for b in range(2):
        for q in range(6):
            inside = [
                pixels[b, :, y, x]
                for y in range(4)
                for x in range(5)
                if 1 / (1 + (-logits[b, q, y, x]).exp()) > 0.5
            ]
            wanted = sum(inside) / len(inside) if inside else torch.zeros(3)
            torch.testing.assert_close(found[b, q], wanted)


@pytest.mark.parametrize(
    ("length", "starts"),
    [(512, [0]), (1024, [0, 512]), (576, [0, 64]), (1408, [0, 512, 896])],
)
def test_windows_lie_side_by_side_and_the_last_at_the_end(length, starts):
    assert backbone.window_starts(length, 512) == starts


def test_images_are_padded_to_whole_cells_and_one_window():
    assert backbone.padded_size(1024, 1365, 512) == (1024, 1408)
    assert backbone.padded_size(1, 513, 512) == (512, 576)


def test_windows_that_overlap_are_averaged():
    image = torch.arange(128 * 192, dtype=torch.float32).view(1, 1, 128, 192)
    image = image.expand(1, 3, -1, -1)
    calls = []

    def maps_of(window):
        calls.append(window)
        means = [
            torch.nn.functional.avg_pool2d(window[:, :1], s) for s in (4, 8, 16, 32)
        ]
        return [mean + len(calls) for mean in means]

    maps = backbone.slide(image, 128, maps_of)
    assert len(calls) == 2  # columns 0 to 127 and 64 to 191
    for stride, map_ in zip((4, 8, 16, 32), maps, strict=True):
        plain = torch.nn.functional.avg_pool2d(image[:, :1], stride)
        extra = (map_ - plain)[0, 0, 0]
        edge = 64 // stride
        assert torch.allclose(extra[:edge], torch.tensor(1.0))
        assert torch.allclose(extra[edge : 2 * edge], torch.tensor(1.5))
        assert torch.allclose(extra[2 * edge :], torch.tensor(2.0))
