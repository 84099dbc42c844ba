"""A synthesizer that paints a disc: all that one file needs.

The line that a user would add to the table is in the test that uses it.
"""

import numpy as np

from sas_jax.capability.contracts import MaskConfig, Synthesized, SynthesizerOptions

SIZE = 48


class DiscSynthesizer:
    """A `Synthesizer` (see capability/contracts.py): a class is a colour."""

    masks = MaskConfig(threshold=0.5)
    one_thread = True
    judge = None
    images_at_once = None

    def __init__(self, steps: int):
        self.spec = {"model": "discs", "steps": steps}

    def synthesize(self, prompt, word, seeds):
        drawn = [self._draw(word, seed) for seed in seeds]
        images, maps = (np.stack(parts) for parts in zip(*drawn, strict=True))
        return Synthesized(images, maps, prompt, tuple(seeds))

    def _draw(self, word, seed):
        random = np.random.default_rng([seed, *word.encode()])
        row, column = random.uniform(0.4 * SIZE, 0.6 * SIZE, 2)
        rows, columns = np.indices((SIZE, SIZE))
        distance = np.hypot(rows - row, columns - column)
        heat = np.clip(1.5 - distance / (0.3 * SIZE), 0, 1).astype(np.float32)
        image = random.integers(0, 256, (SIZE, SIZE, 3))
        image[heat > 0.5] = random.integers(0, 256, 3)
        return image.astype(np.uint8), heat


def load(options: SynthesizerOptions) -> DiscSynthesizer:
    return DiscSynthesizer(options.steps or 1)
