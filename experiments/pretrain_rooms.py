"""Train the small models of the embedded rooms and write their weights.

  python experiments/pretrain_rooms.py --model=both
  python experiments/pretrain_rooms.py --model=dense --steps=2000
    --learning_rate=1e-3 --initial=runs/pretrain_rooms/both/rooms_dense.safetensors
  python experiments/pretrain_rooms.py --model=both --designs=train:0 --randomise

Renders labelled frames of rooms that no pipeline scene uses, trains with checkpoints
(run it again to go on), measures the result on held-out rooms, with held-out furniture
where --designs names a part to train on, and prints the table.
"""

import dataclasses
import json
import pathlib

import settings
import stage_flags
import torch
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.files import canonical, is_current, read_tensors
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.rooms.scan.config import FIRST_HELD_OUT_SEED, FIRST_PRETRAINING_SEED
from sas_jax.rooms.teachers.data import FramesConfig, load_frames, shards

_MODEL = flags.DEFINE_enum(
    "model",
    None,
    ["dense", "mask", "both", "diffusion"],
    "What to train; both: the two teachers over one trunk.",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder of the weights; default: <workspace>/<model>."
)
_INITIAL = flags.DEFINE_list("initial", [], "Weights to go on from.")
_STEPS = flags.DEFINE_integer("steps", None, "Optimiser steps; default: the model's.")
_ROOMS = flags.DEFINE_integer("rooms", 600, "Training rooms.", lower_bound=1)
_HELD_OUT = flags.DEFINE_integer(
    "held_out_rooms", 20, "Rooms to measure on.", lower_bound=1
)
_RANDOMISE = flags.DEFINE_bool(
    "randomise", False, "Teachers: cover furniture with any colour, pattern and light."
)


flags.FLAGS.set_default("workspace", "runs/pretrain_rooms")


def main() -> None:
    """Train the networks that --model names."""
    torch.set_num_threads(stage_flags.THREADS.value)
    workspace = settings.workspace().root
    output = pathlib.Path(_OUTPUT.value or workspace / _MODEL.value)
    with workspace_lock(workspace / _MODEL.value):
        if _MODEL.value == "diffusion":
            _train_diffusion(workspace, output)
        else:
            _train_teacher(workspace, output)


def _train_teacher(workspace: pathlib.Path, output: pathlib.Path) -> None:
    # The torch-heavy modules load only for the model that needs them.
    from sas_jax.rooms.teachers import measure as rooms_measure
    from sas_jax.rooms.teachers import train as rooms_train
    from sas_jax.rooms.teachers.augment import RANDOMISED, AugmentConfig
    from sas_jax.rooms.teachers.nets import save_weights

    designs = stage_flags.ROOM.name("designs")
    rendering = FramesConfig(num_rooms=_ROOMS.value, designs=designs)
    frames = _frames(rendering, workspace / "frames")
    config = rooms_train.TrainConfig(
        model=_MODEL.value,
        seed=flags.FLAGS.seed or 0,
        augment=RANDOMISED if _RANDOMISE.value else AugmentConfig(),
    )
    named = {"steps": _STEPS.value}
    named |= {n: flags.FLAGS[n].value for n in ("learning_rate", "batch_size")}
    config = dataclasses.replace(config, **{k: v for k, v in named.items() if v})
    checkpoint = workspace / _MODEL.value / "checkpoint.pt"
    with tqdm(total=config.steps, desc=f"train {config.model}", mininterval=5) as bar:

        def report(step: int, terms: dict[str, float]) -> None:
            bar.update(step - bar.n)
            if step % 50 == 0:
                bar.set_postfix({k: f"{v:.3f}" for k, v in terms.items()})

        initial = [pathlib.Path(path) for path in _INITIAL.value]
        net = rooms_train.train(config, frames, checkpoint, report, initial=initial)
    measuring = FramesConfig(
        first_seed=FIRST_HELD_OUT_SEED,
        num_rooms=_HELD_OUT.value,
        path_views=8,
        object_views=0,
        designs=designs.replace("train:", "held-out:"),
    )
    held_out = _frames(measuring, workspace / "held_out")
    meta = {
        "training": json.dumps(canonical(config)),
        "initial": _initial_key(),
        "frames": json.dumps(canonical(rendering)),
        "held_out_frames": json.dumps(canonical(measuring)),
    }
    for model in config.teachers:
        part = rooms_train.part_of(net, model)
        teacher = rooms_train.teacher_of(part, model, config)
        iou = rooms_measure.iou_per_class(rooms_measure.confusion(teacher, held_out))
        scores = json.dumps({k: round(v, 4) for k, v in iou.items()})
        path = output / f"rooms_{model}.safetensors"
        save_weights(part, path, {**meta, "held_out_iou": scores})
        _print_table(model, iou, path)


def _initial_key() -> str:
    from sas_jax.rooms.teachers.nets import SCHEMA

    keys = [read_tensors(p, schema=SCHEMA)[1]["key"] for p in _INITIAL.value]
    return " ".join(keys) or "random"


def _frames(config: FramesConfig, folder: pathlib.Path):
    missing = list(shards(config, folder))
    for _, make in tqdm(missing, desc=f"render {folder.name}", disable=not missing):
        make()
    return load_frames(config, folder)


def _train_diffusion(workspace: pathlib.Path, output: pathlib.Path) -> None:
    from sas_jax.rooms.painter import crops, pretrain, small_diffusion

    path = workspace / "diffusion" / "crops.safetensors"
    seeds = range(FIRST_PRETRAINING_SEED, FIRST_PRETRAINING_SEED + _ROOMS.value)
    rooms = stage_flags.ROOM.make()
    if not is_current(path, crops.crops_key(seeds, room=rooms)):
        with tqdm(total=len(seeds), desc="render crops", mininterval=5) as bar:
            made = crops.make_crops(seeds, room=rooms, progress=lambda _: bar.update(1))
        made.write(path)
    config = pretrain.PretrainConfig(seed=flags.FLAGS.seed or 0)
    changes = {"steps": _STEPS.value, "rate": flags.FLAGS.learning_rate}
    config = dataclasses.replace(config, **{k: v for k, v in changes.items() if v})
    initial = small_diffusion.load(_INITIAL.value[0]) if _INITIAL.value else None
    model = pretrain.train(
        crops.read_crops(path), workspace / "diffusion", config, initial=initial
    )
    meta = {
        "training": json.dumps(canonical(config)),
        "initial": initial.weights_id if initial else "random",
        "designs": stage_flags.ROOM.name("designs"),
    }
    path = output / "rooms_diffusion.safetensors"
    small_diffusion.save(path, model, meta)
    print(f"weights: {path}")


def _print_table(model: str, iou: dict[str, float], path: pathlib.Path) -> None:
    from sas_jax.rooms.teachers.nets import SHIPPED
    from sas_jax.rooms.teachers.train import KNOWLEDGE

    strong = KNOWLEDGE[model].strong
    print(f"\n{model:<18}{'labelled':>10}{'IoU %':>8}")
    for name, value in iou.items():
        share = "all" if name in strong else "part"
        print(f"{name:<18}{share:>10}{100 * value:>8.1f}")
    print(f"{'mean':<28}{100 * sum(iou.values()) / max(len(iou), 1):>8.1f}")
    print(f"weights: {path} (shipped ones: {SHIPPED / path.name})")


if __name__ == "__main__":
    settings.run(main)
