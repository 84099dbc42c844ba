"""Names of masks: the two classifiers, their mean, and CLIP asked about masks."""

import math

import pytest

pytest.importorskip("torch")

import tiny_odise
import torch

from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.odise.backbone import CLIP_MEAN, CLIP_STD, to_square
from sas_jax.teachers.odise.classify import class_logits, ensemble
from sas_jax.teachers.odise.mask_clip import hidden


def _softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def test_the_ensemble_as_its_formula():
    torch.manual_seed(0)
    own, clip = torch.randn(3, 5) * 3, torch.randn(3, 4) * 3
    shares = [0.3, 0.7, 0.3, 0.7]
    found = ensemble(own, clip, torch.tensor(shares))
    for q in range(3):
        p, r = _softmax(own[q].tolist()), _softmax(clip[q].tolist())
        mixed = [p[k] ** (1 - w) * r[k] ** w for k, w in enumerate(shares)]
        for k in range(4):
            wanted = mixed[k] / sum(mixed) * (1 - p[4])
            assert math.isclose(float(found[q, k].exp()), wanted, rel_tol=1e-5)
        assert math.isclose(float(found[q, 4].exp()), p[4], rel_tol=1e-5)


def test_a_certain_void_leaves_finite_numbers():
    own = torch.tensor([[0.0, 0.0, 300.0], [0.0, 300.0, 0.0]])
    found = ensemble(own, torch.zeros(2, 2), torch.tensor([0.3, 0.3]))
    assert torch.isfinite(found).all()
    assert found.argmax(-1).tolist() == [2, 1]


def test_cosines_do_not_follow_lengths():
    torch.manual_seed(0)
    a, b = torch.randn(3, 8), torch.randn(4, 8)
    found = class_logits(7 * a, b / 9, 100.0)
    for q in range(3):
        for k in range(4):
            cosine = float(a[q] @ b[k]) / float(a[q].norm() * b[k].norm())
            assert math.isclose(float(found[q, k]), 100 * cosine, abs_tol=1e-3)


def test_who_looks_at_what():
    inside = torch.tensor([[[True, False]], [[False, False]]])  # two masks, 1 x 2
    wanted = [
        [0, 0, 0, 1, 1],  # the class token and the patches: as without masks
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1],
        [0, 0, 1, 1, 1],
        [0, 1, 1, 1, 1],  # an empty mask looks at the class token
    ]
    assert hidden(inside).int().tolist() == wanted


def _literal(tower, tokens, visible):
    """One more class token through the tower, which looks at visible tokens only."""
    body = tower.vision_model
    asking = tokens[:1]
    heads = tower.config.num_attention_heads
    for layer in body.encoder.layers:
        attend = layer.self_attn

        def split(x):
            return x.view(len(x), heads, -1).transpose(0, 1)

        normed, query = layer.layer_norm1(tokens), layer.layer_norm1(asking)
        q = split(attend.q_proj(query))
        k, v = split(attend.k_proj(normed)), split(attend.v_proj(normed))
        scores = (q @ k.transpose(1, 2) / k.shape[-1] ** 0.5)[..., visible]
        seen = (scores.softmax(-1) @ v[:, visible]).transpose(0, 1).reshape(1, -1)
        asking = asking + attend.out_proj(seen)
        asking = asking + layer.mlp(layer.layer_norm2(asking))
        tokens = layer(tokens[None], None)[0]
    return tower.visual_projection(body.post_layernorm(asking))[0]


@torch.no_grad()
def test_mask_tokens_as_a_literal_walk():
    clip = built(tiny_odise.clip, 0)
    torch.manual_seed(1)
    image, logits = torch.rand(1, 3, 48, 80), torch.randn(3, 12, 20)
    logits[2] = -1.0
    found = clip.masks(image, logits)
    body, square = clip.tower.vision_model, to_square(image, 32)
    tokens = body.pre_layrnorm(body.embeddings(square))[0]
    small = torch.nn.functional.interpolate(logits[None], (4, 4), mode="bilinear")[0]
    for q in range(3):
        patches = [1 + i for i, v in enumerate(small[q].flatten().tolist()) if v > 0]
        wanted = _literal(clip.tower, tokens, [0, *patches])
        torch.testing.assert_close(found[q], wanted, rtol=0, atol=1e-5)
    # A mask of everything asks what the class token asks.
    (everything,) = clip.masks(image, torch.ones(1, 12, 20))
    torch.testing.assert_close(everything, clip.image(image)[0], rtol=0, atol=1e-5)


def test_images_are_normalised_for_clip():
    grey = torch.full((1, 3, 10, 20), 0.5)
    square = to_square(grey, 8)
    assert square.shape == (1, 3, 8, 8)
    for c in range(3):
        wanted = torch.tensor((0.5 - CLIP_MEAN[c]) / CLIP_STD[c])
        torch.testing.assert_close(square[0, c], wanted.expand(8, 8))
