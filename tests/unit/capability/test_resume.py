"""A run that is killed while it paints goes on with the next image, to the same bits.

The child prints a line when it begins an image; the test kills it, with SIGKILL, in
the middle of one.
"""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from sas_jax.capability import store

TESTS = pathlib.Path(__file__).parents[2]
SCRIPT = """
import sys, time
from sas_jax.capability import run
from sas_jax.capability.config import CapabilityConfig
from sas_jax.capability.contracts import Recipe
from sas_jax.classes import Vocabulary

folder, kind = sys.argv[1:3]
each, kill_at = map(int, sys.argv[3:])
begun = 0

def begin():
    global begun
    begun += 1
    print("image", begun, flush=True)
    if begun == kill_at:
        time.sleep(600)

if kind == "discs":
    from sas_jax.capability.grabcut import GrabCutPrompter
    from second_synthesizer import DiscSynthesizer

    class Painter(DiscSynthesizer):
        images_at_once = 1

        def _draw(self, word, seed):
            drawn = super()._draw(word, seed)
            begin()
            return drawn

    painter, prompter = Painter(1), GrabCutPrompter()
else:
    import torch
    from tiny_diffusion import tiny_pipeline
    from tiny_sam import tiny_sam
    from sas_jax.capability.sam import SamPrompter
    from sas_jax.capability.stable_diffusion import (
        StableDiffusionConfig, StableDiffusionSynthesizer,
    )

    torch.set_num_threads(1)
    pipeline = tiny_pipeline()
    config = StableDiffusionConfig(steps=1, image_size=64)
    painter = StableDiffusionSynthesizer(pipeline, config)
    decode = pipeline.vae.decode

    def decoding(*args, **kwargs):
        begin()
        return decode(*args, **kwargs)

    pipeline.vae.decode = decoding
    prompter = SamPrompter(*tiny_sam())

words = Vocabulary("two", ("chair", "shower curtain"), other_index=None)
done = []
run.make_images(
    folder, words, Recipe(painter, prompter, painter.masks),
    CapabilityConfig(images_per_class=each), done.append,
)
assert done == ["chair"] * each + ["shower curtain"] * each
"""


def start(folder, kind, each, kill_at=0):
    paths = [str(TESTS.parent), str(TESTS)]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), kind, str(each), str(kill_at)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(folder, kind, each):
    with start(folder, kind, each) as child:
        lines = child.stdout.read().split("\n")
        assert child.wait() == 0
    return sum(line.startswith("image") for line in lines)


def kill_in(folder, kind, each, image):
    with start(folder, kind, each, image) as child:
        for line in child.stdout:
            if line.split() == ["image", str(image)]:
                break
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kind", "each", "kills"),
    [("discs", 4, (3, 4)), pytest.param("diffusion", 2, (4,), marks=pytest.mark.slow)],
)
def test_a_killed_run_repaints_one_image_and_ends_with_the_same_bits(
    tmp_path, kind, each, kills
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(whole, kind, each) == 2 * each
    painted = 0
    for image in kills:
        kill_in(killed, kind, each, image)
        painted += image - 1  # the last one was lost
    assert list((killed / "images").glob("*/*.safetensors"))
    assert finish(killed, kind, each) == 2 * each - painted
    for name in ("chair", "shower curtain"):
        one, two = (store.images_path(folder, name) for folder in (whole, killed))
        assert one.read_bytes() == two.read_bytes()
        assert store.read_images(killed, name).images.shape[0] == each
    assert not list((killed / "images").glob("*/"))  # of parts nothing is left
