"""Synthesizers, prompters and judges by name: what each says of itself."""

import pytest

from sas_jax.capability import registry
from sas_jax.capability.contracts import MaskConfig, SynthesizerOptions
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.rooms.painter.small_diffusion import SamplingConfig


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("smal", "grabcut"), r"synthesizer must be one of small, .*got smal\."),
        (("small", "samm"), r"prompter must be one of grabcut, sam, sam2, got samm\."),
    ],
)
def test_an_unknown_name_lists_the_known_ones(names, message):
    with pytest.raises(InputError, match=message):
        registry.check(*names)
    with pytest.raises(InputError, match=r"judge must be one of renders"):
        registry.load_judge("critic")


def test_the_small_one_paints_on_one_thread_and_has_a_judge():
    options = SynthesizerOptions(steps=3)
    small = registry.load_synthesizer("small", options)
    assert small.one_thread and small.masks == MaskConfig(threshold=0.5)
    assert small.spec["sampling"]["steps"] == 3
    assert small.spec["sampling"]["guidance"] == SamplingConfig().guidance
    assert registry.load_judge(small.judge).ticks > 0


def test_what_is_not_on_this_machine_is_said(tmp_path):
    absent = str(tmp_path / "none")
    for name in registry.SYNTHESIZERS:
        with pytest.raises(WeightsMissing):
            registry.load_synthesizer(name, SynthesizerOptions(weights=absent))
    for name in ("sam", "sam2"):
        with pytest.raises(
            WeightsMissing, match=f"{name} needs .*--sam_weights=random"
        ):
            registry.load_prompter(name, LoadOptions(absent))
    assert registry.load_prompter("grabcut").one_thread
