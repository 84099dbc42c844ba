"""TAP answers as the original network does with the same weights.

The golden file holds the authors' network shrunk (512 px, four blocks), filled with
weights that are a function of their names. It was run in single precision, with
flash attention replaced by its formula.
"""

import dataclasses
import json

import det_weights
import numpy as np
import pytest
import torch

from sas_jax.teachers.tap.convert import network_of
from sas_jax.teachers.tap.network import Tap, best_of_points

# Sums of at most 2048 products of f32 in another order, through some twenty layers:
# some units in the last place of the largest entry of each array.
UNITS, ULP = 16, 2.0**-23


@pytest.fixture(scope="module")
def recorded(golden):
    return np.load(golden / "teachers/tap/tap_tiny.npz", allow_pickle=False)


def tensor(recorded, name, shape, kind):
    if name.endswith(".index"):  # follows from the size of a window
        return torch.full(shape, -1)
    if kind == "skip":
        return torch.from_numpy(recorded[f"w::{name}"])
    return torch.from_numpy(np.asarray(det_weights.tensor(name, shape, kind)))


@pytest.fixture(scope="module")
def network(golden, recorded):
    stated = json.loads((golden / "teachers/tap/tap_tiny_keys.json").read_text())
    state = {row[0]: tensor(recorded, *row) for row in stated["keys"]}
    network = network_of(state, "golden")
    sizes = dataclasses.asdict(network.sizes) | {"text_seq_len": 40}
    told = stated["config"]
    assert all(sizes[name] == told[name] for name in told if name != "text_seq_len")
    short = Tap(dataclasses.replace(network.sizes, text_seq_len=told["text_seq_len"]))
    short.load_state_dict(network.state_dict())
    return short.eval()


@pytest.fixture(scope="module")
@torch.no_grad()
def answers(network, recorded):
    features = network.features(torch.from_numpy(recorded["image_bgr"]))
    points = torch.from_numpy(recorded["points"])
    labels = points[..., 2].long()
    regions = network.regions(features, points[..., :2], labels, with_masks=True)
    best = best_of_points(regions.iou)
    tokens = regions.tokens[torch.arange(len(best)), best]
    first = torch.ones(len(best), 1, dtype=torch.int64)
    decoder = network.text_decoder
    return {
        "features": features,
        "iou_pred": regions.iou,
        "mask_pred": regions.masks,
        "sem_embeds": network.image_decoder.sem_pred(regions.tokens),
        "sem_tokens": tokens[:, None],
        "first_logits": decoder.logits(first, decoder.new_cache(), tokens),
        "mask_index": best,
        "caption_tokens": decoder.greedy(tokens, bos=1, eos=2, pad=119),
    }


@pytest.mark.parametrize(
    "name", ["features", "iou_pred", "sem_embeds", "sem_tokens", "first_logits"]
)
def test_arrays_equal_the_originals(answers, recorded, name):
    wanted = recorded[name]
    bound = UNITS * ULP * np.abs(wanted).max()
    np.testing.assert_allclose(answers[name].numpy(), wanted, rtol=0, atol=bound)


def test_masks_equal_the_originals_but_for_their_storage(answers, recorded):
    wanted = recorded["mask_pred"].astype(np.float32)
    # stored in f16: half a unit in the last place is 2^-11 of the value
    np.testing.assert_allclose(
        answers["mask_pred"].numpy(), wanted, rtol=2.0**-11, atol=1e-5
    )


@pytest.mark.parametrize("name", ["mask_index", "caption_tokens"])
def test_choices_are_the_originals(answers, recorded, name):
    np.testing.assert_array_equal(answers[name].numpy(), recorded[name])


@torch.no_grad()
def test_kept_keys_and_values_say_what_all_at_once_says(network, recorded):
    tokens = torch.from_numpy(recorded["caption_tokens"])
    prompts = torch.from_numpy(recorded["sem_tokens"])[:, 0]
    decoder = network.text_decoder
    at_once = decoder.logits(tokens, decoder.new_cache(), prompts)
    # The original says what it did of all but the last: each is the likeliest.
    np.testing.assert_array_equal(at_once.argmax(-1)[:, :-1], tokens[:, 1:])
    cache, single = decoder.new_cache(), []
    for place in range(tokens.shape[1]):
        about = prompts if place == 0 else None
        single.append(decoder.logits(tokens[:, place : place + 1], cache, about))
    bound = UNITS * ULP * at_once.abs().max().item()
    torch.testing.assert_close(torch.cat(single, 1), at_once, rtol=0, atol=bound)
