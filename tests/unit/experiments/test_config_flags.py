"""Flags follow the library's dataclasses, and every flagfile resolves as it should."""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Literal

import pytest
from absl import flags

from sas_jax.errors import InputError

CHECK = """
import json, sys
sys.path.insert(0, "experiments")
import stage_flags, train
from absl import flags
from absl.testing import flagsaver
from sas_jax.artefacts.files import canonical

@flagsaver.flagsaver
def configs(*arguments):
    flags.FLAGS(["stage.py", *arguments])
    stage_flags.check()
    return {
        "rooms": stage_flags.ROOM_SET.make(
            rooms=stage_flags.ROOM.make(), write=stage_flags.rooms_written()
        ),
        "extract": stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make()),
        "synthesis": stage_flags.SYNTHESIS.make(),
        "capability": stage_flags.CAPABILITY.make(),
        "superpoints": stage_flags.SUPERPOINT.make(),
        "fuse": stage_flags.FUSE.make(),
        "train": train.config(512),
        "run": stage_flags.TRAIN_RUN.make(),
    }

made = [configs(), *(configs(f"--flagfile={name}.flags") for name in sys.argv[1:])]
print(json.dumps(canonical(made)))
"""
LIGHT = """
import sys
sys.path.insert(0, "experiments")
import stage_flags, settings, sas_jax, sas_jax.stages
heavy = {"jax", "flax", "torch", "transformers", "cv2", "embreex", "orbax"}
print(*sorted(heavy & set(sys.modules)))
"""


@dataclasses.dataclass(frozen=True)
class Sample:
    """A configuration.

    Attributes:
      count: how many,
        in two lines.
      rate: per second; None takes
        all.
      kind: which.
      size_wh: width and height.
      on: whether.
      shape: made by name.
      listed: one of a list.
    """

    count: int = 3
    rate: float | None = None
    kind: Literal["a", "b"] = "a"
    size_wh: tuple[int, int] | None = (4, 3)
    on: bool = True
    shape: tuple[int, ...] = ()
    listed: str = dataclasses.field(default="x", metadata={"choices": ("x", "y")})


def shape(name: Literal["small", "large"] = "small") -> tuple[int, ...]:
    """Return a shape.

    Args:
      name: "small" or "large".
    """
    return {"small": (1,), "large": (2, 2)}[name]


@pytest.fixture
def made(root, monkeypatch):
    """Flags of the sample, among no others."""
    monkeypatch.syspath_prepend(str(root / "experiments"))
    import config_flags

    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    monkeypatch.setattr(config_flags, "_known", {})
    for kind in ("enum", "bool", "integer", "float", "string", "list"):
        define = getattr(flags, f"DEFINE_{kind}")

        def into(*args, define=define):
            return define(*args, flag_values=flags.FLAGS)

        monkeypatch.setattr(flags, f"DEFINE_{kind}", into)
    return config_flags.define(
        Sample, names={"size_wh": "size"}, named={"shape": shape}
    )


def parsed(*arguments):
    flags.FLAGS(["script.py", *arguments])


def test_without_flags_every_default_is_the_dataclasss(made):
    parsed()
    assert all(flags.FLAGS[name].value is None for name in made.names.values())
    assert made.make() == Sample(shape=shape())
    assert made.make(count=5).count == 5 and made.name("shape") == "small"


def test_values_have_the_types_of_the_fields(made):
    parsed("--count=7", "--rate=0.5", "--kind=b", "--size=8,6", "--noon", "--listed=y")
    assert made.make() == Sample(7, 0.5, "b", (8, 6), False, (1,), "y")
    parsed("--shape=large")
    assert made.make().shape == (2, 2) and made.name("shape") == "large"


def test_help_and_choices_are_of_the_docstring(made):
    assert flags.FLAGS["count"].help == "How many, in two lines. Default: 3."
    assert flags.FLAGS["rate"].help == "Per second; None takes all."
    assert flags.FLAGS["size"].help == "Width and height. Default: 4,3."
    assert flags.FLAGS["shape"].help.endswith('"small" or "large". Default: small.')
    for name, choices in (("kind", "ab"), ("listed", "xy")):
        assert list(flags.FLAGS[name].parser.enum_values) == list(choices)


@pytest.mark.parametrize("value", ["8", "8,6,4", "8,x", "8,0.5"])
def test_a_list_of_another_form_is_named(made, value):
    parsed(f"--size={value}")
    with pytest.raises(InputError, match=r"--size=<int>,<int> is required, got 8"):
        made.make()


def test_one_flag_cannot_mean_two_things(made):
    import config_flags

    @dataclasses.dataclass(frozen=True)
    class Other:
        """Another.

        Attributes:
          count: as a share.
        """

        count: float = 0.5

    with pytest.raises(TypeError, match="--count"):
        config_flags.define(Other)
    same = config_flags.define(Other, names={"count": "share"})
    parsed("--share=0.25", "--count=9")
    assert same.make().count == 0.25 and made.make().count == 9


def test_a_field_without_help_is_a_fault():
    import config_flags

    @dataclasses.dataclass(frozen=True)
    class Silent:
        """Says nothing.

        Attributes:
          other: not a field.
        """

        count: int = 0

    with pytest.raises(TypeError, match="no help for count"):
        config_flags.define(Silent)
    Silent.__doc__ = "Says nothing, and lists nothing."
    with pytest.raises(TypeError, match=r"Silent: .*'Attributes:'"):
        config_flags.define(Silent)


def run(root, code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_flags_load_neither_half_of_the_method(root):
    assert run(root, LIGHT).split() == []


def changed(values, other):
    """Return the values, of nested ones too, that differ from another's."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(other[name], dict):
            inner = changed(value, other[name])
            found |= {f"{name}.{key}": item for key, item in inner.items()}
        elif value != other[name]:
            found[name] = value
    return found


def test_flagfiles_say_what_differs_from_the_defaults(root):
    """Everything else is the library's default, which the dataclasses hold."""
    made = json.loads(run(root, CHECK, "scannet", "rooms_scratch", "rooms_full"))
    plain, scannet, rooms, full = made
    assert changed(scannet, plain) == {  # the recipe is the paper's
        "capability.images_per_class": 50,
        "capability.teacher_px": 0,
        "extract.frame_stride": 20,
        "synthesis.point_prompter": "sam",
        "synthesis.synthesizer": "stable-diffusion",
        "run.num_workers": 4,
        "run.prefetch": 1,
    }
    small = changed(rooms, plain)
    assert {n: v for n, v in small.items() if not n.startswith("train.augment")} == {
        "extract.lift.occlusion_threshold": 0.05,
        "train.student.arch": "MinkUNet14S",
        "train.voxel_size_m": 0.1,
        "train.logit_scale": 1.0,
        "train.batch_size": 1,
        "train.epochs": 56,
        "train.loop": 1,
        "train.learning_rate": 0.02,
        "train.final_learning_rate": 0.0005,
        "run.checkpoint_epochs": 8,
    }
    assert small["train.augment.quarter_turns"] is True
    assert changed(full, rooms) == {
        "rooms.num_train": 160,
        "rooms.num_val": 10,
        "rooms.num_test": 24,
        "capability.images_per_class": 24,
        "train.voxel_size_m": 0.08,
        "train.epochs": 60,
        "run.checkpoint_epochs": 4,
    }
