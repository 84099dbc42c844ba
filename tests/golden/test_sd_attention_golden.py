"""Attention of a tiny Stable Diffusion equals what the authors' store collects.

The golden file was made with the authors' prompt-to-prompt store on a pipeline of
random weights (torch seed 0): 512 px, 4 PNDM steps, guidance 7, generator seed 3.
"""

import numpy as np
import pytest
import torch
from tiny_diffusion import tiny_pipeline

from sas_jax.capability import attention

PROMPT = "a good photo of a shower curtain in a room"


@pytest.fixture(scope="module")
def recorded(golden):
    return np.load(golden / "teachers/sd_attn_tiny.npz", allow_pickle=False)


def test_maps_per_resolution_match_the_authors_store(recorded):
    pipeline = tiny_pipeline()
    ids = pipeline.tokenizer(PROMPT)["input_ids"]
    assert list(ids) == recorded["input_ids"].tolist()
    with attention.recording(pipeline.unet, guided=True) as store:
        pipeline(
            PROMPT,
            num_inference_steps=4,
            guidance_scale=7.0,
            generator=torch.Generator().manual_seed(3),
            height=512,
            width=512,
            output_type="latent",
        )
    maps = store.by_resolution(("down", "up"))
    assert sorted(maps) == [16, 32, 64]
    for edge, mean in maps.items():
        got = mean[0].flatten(1).T.numpy()
        # sums of 1 over 77 tokens in float32: rounding stays below 1e-7 per entry
        np.testing.assert_allclose(got, recorded[f"attn{edge}"], atol=2e-7, rtol=0)
