"""LSeg equals the authors' network, tiny and at full size, on weights made by name.

Features were stored in half precision: at most half a step of it lies between.
"""

import json

import det_weights
import numpy as np
import pytest
import torch

from sas_jax.teachers.checkpoint import fill
from sas_jax.teachers.lseg.config import LSegConfig
from sas_jax.teachers.lseg.evaluate import evaluate
from sas_jax.teachers.lseg.network import LSegNet, architecture_of

BOUND = 1e-5


@pytest.fixture(scope="module")
def folder(golden):
    return golden / "teachers" / "lseg"


@pytest.fixture(scope="module")
def tiny(folder):
    recorded = np.load(folder / "lseg_tiny.npz", allow_pickle=False)
    return network(folder / "lseg_tiny_keys.json"), recorded


def network(keys):
    """Return the network of a list of the original's tensors, filled by their names."""
    table = json.loads(keys.read_text())
    state = {
        name: torch.from_numpy(det_weights.tensor(name, shape, kind))
        for name, shape, kind in table["keys"]
    }
    heads, taps = table["config"]["heads"], tuple(table["config"]["hooks"])
    net = LSegNet(architecture_of(state, heads=heads, taps=taps)).eval()
    return fill(net, state, what="lseg", path=keys)


def half_step(values):
    """Return half the distance between neighbours in half precision."""
    return np.spacing(np.abs(values).astype(np.float16)).astype(np.float32) / 2


@torch.no_grad()
def test_tiny_network(tiny):
    net, recorded = tiny
    images = torch.from_numpy(recorded["input"])
    got = net(images).numpy()
    np.testing.assert_allclose(got, recorded["features"], atol=BOUND, rtol=0)
    for number, found in enumerate(net.maps(images), 1):
        want = recorded[f"layer{number}"]
        np.testing.assert_allclose(found, want, atol=BOUND * np.abs(want).max(), rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("compat", ["official", "paper"])
def test_tiny_evaluation(tiny, compat):
    # The long side is half the crop: there the two ways are one.
    net, recorded = tiny
    config = LSegConfig(compat=compat, base_size=192, crop_size=192)
    got = evaluate(net, torch.from_numpy(recorded["eval_input"]), config)[0].numpy()
    want = recorded["eval_features"][0].astype(np.float32)
    assert (np.abs(got - want) <= half_step(want) + BOUND).all()


@pytest.mark.slow
@torch.no_grad()
def test_full_size(folder):
    recorded = np.load(folder / "lseg_full_recipe.npz", allow_pickle=False)
    net = network(folder / "lseg_full_keys.json")
    images = det_weights.tensor("lseg.input.96x128", (1, 3, 96, 128), "input")
    got = net(torch.from_numpy(images)).numpy()
    want = recorded["features_f16"].astype(np.float32)
    assert (np.abs(got - want) <= half_step(want) + BOUND).all()
    mean = recorded["features_mean"]
    np.testing.assert_allclose(got.mean((2, 3)), mean, atol=BOUND, rtol=0)
    every_eighth = net.maps(torch.from_numpy(images))[3][:, ::8]
    want = recorded["layer4"]
    atol = BOUND * np.abs(want).max()
    np.testing.assert_allclose(every_eighth, want, atol=atol, rtol=0)

    images = det_weights.tensor("lseg.eval.96x128", (1, 3, 96, 128), "input")
    config = LSegConfig(compat="official", base_size=256, crop_size=256)
    got = evaluate(net, torch.from_numpy(images), config)[0].numpy()[:, ::8, ::8]
    want = recorded["eval_features_f16_s8"][0].astype(np.float32)
    assert (np.abs(got - want) <= half_step(want) + BOUND).all()
