"""Synthesizers, point prompters and judges by name: a new one is a line here."""

from sas_jax import registry
from sas_jax.capability.contracts import (
    Judge,
    JudgeOptions,
    PointPrompter,
    Synthesizer,
    SynthesizerOptions,
)
from sas_jax.registry import LoadOptions

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

SYNTHESIZERS: dict[str, str] = {
    "small": "sas_jax.rooms.painter.synthesizer:load",
    "stable-diffusion": "sas_jax.capability.stable_diffusion:load",
}
"""Name -> `module:function`, called with `SynthesizerOptions`."""

PROMPTERS: dict[str, str] = {
    "grabcut": "sas_jax.capability.grabcut:load",
    "sam": "sas_jax.capability.sam:load",
    "sam2": "sas_jax.capability.sam2:load",
}
"""Name -> `module:function`, called with `LoadOptions`."""

JUDGES: dict[str, str] = {
    "renders": "sas_jax.rooms.painter.quality:load",
}
"""Name -> `module:function`, called with `JudgeOptions`."""

_SYNTHESIZER = {"what": "a synthesizer", "flag": "--synthesizer"}
_PROMPTER = {"what": "a point prompter", "flag": "--point_prompter"}


def check(synthesizer: str, prompter: str) -> None:
    """Raise InputError, listing the known ones, for an unknown name."""
    registry.check_name(synthesizer, SYNTHESIZERS, **_SYNTHESIZER)
    registry.check_name(prompter, PROMPTERS, **_PROMPTER)


def load_synthesizer(
    name: str, options: SynthesizerOptions | None = None
) -> Synthesizer:
    """Load a synthesizer.

    Raises:
      InputError: for an unknown name, listing the known ones.
      WeightsMissing: when its weights are not on this machine.
    """
    options = options or SynthesizerOptions()
    return registry.load(SYNTHESIZERS, name, options, **_SYNTHESIZER)


def load_prompter(name: str, options: LoadOptions | None = None) -> PointPrompter:
    """Load a point prompter; raises as `load_synthesizer`."""
    return registry.load(PROMPTERS, name, options or LoadOptions(), **_PROMPTER)


def load_judge(name: str, options: JudgeOptions | None = None) -> Judge:
    """Load a judge; raises InputError for an unknown name."""
    options = options or JudgeOptions()
    where = "the synthesizer that names it"
    return registry.load(JUDGES, name, options, what="a judge", flag=where)
