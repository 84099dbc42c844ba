"""Train Gaussians on procedural rooms, and score frames that were held out.

    python benchmarks/splat_training.py [--rooms 3] [--frames 40] [--steps 3000]
        [--seeds 40000]

A row is one room: PSNR of what training begins with and of its end, seconds of training
(compilation included) and of the processors, load of the machine before it. Rooms have
the seeds from 7 on, frames 320x240. `ceiling` is what the room's own perfect renderings
would score against the same frames: a camera's exposure, white balance and contrast
differ from frame to frame.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sas_jax.datasets import registry
from sas_jax.gaussians.metrics import matched
from sas_jax.gaussians.score import Score, score
from sas_jax.gaussians.seed import seed_splats
from sas_jax.gaussians.train import train
from sas_jax.gaussians.training_config import SeedConfig, SplatTrainConfig
from sas_jax.gaussians.training_step import splats_of
from sas_jax.gaussians.views import View, read_views
from sas_jax.rooms.layout import Room, make_room
from sas_jax.rooms.render.renderer import Renderer
from sas_jax.rooms.scan.config import WriteConfig
from sas_jax.rooms.scan.scene import write_scene

_FIRST_SEED = 7
_SIZE_WH = (320, 240)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=3)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--steps", type=int, default=SplatTrainConfig.steps)
    parser.add_argument("--seeds", type=int, default=SeedConfig.seeds)
    args = parser.parse_args()
    seeds = SeedConfig(seeds=args.seeds)
    config = SplatTrainConfig(steps=args.steps, seeds=seeds)
    for seed in range(_FIRST_SEED, _FIRST_SEED + args.rooms):
        with tempfile.TemporaryDirectory() as folder:
            measure.append("splat_training", _row(seed, args.frames, config, folder))


def _row(seed: int, frames: int, config: SplatTrainConfig, folder: str) -> dict:
    room, path = make_room(seed), Path(folder) / f"room{seed:04d}_00"
    write_scene(room, path, WriteConfig(frames, size_wh=_SIZE_WH))
    scene = registry.scan_at(path).open(annotations=False)
    views = read_views(scene, held_out_every=config.held_out_every)
    seeds = seed_splats(scene.points, scene.colors, config.seeds)
    load, cpu, wall = os.getloadavg()[0], time.process_time(), time.monotonic()
    found = train(seeds, views.train, config)
    seconds, cpu = time.monotonic() - wall, time.process_time() - cpu
    splats = splats_of(found.state)
    return {
        "room": seed,
        "frames": [len(views.train), len(views.held_out)],
        "size": _SIZE_WH,
        "steps": config.steps,
        "seeds": len(seeds),
        "gaussians": len(splats),
        "begun": _rounded(score(seeds, views.held_out)),
        "held_out": _rounded(score(splats, views.held_out)),
        "ceiling": _ceiling(room, views.held_out),
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu, 1),
        "load_before": round(load, 2),
        "peak_gb": measure.peak_gb(),
    }


def _rounded(found: Score) -> dict[str, float]:
    return {name: round(v, 3) for name, v in dataclasses.asdict(found).items()}


def _ceiling(room: Room, views: list[View]) -> dict[str, float]:
    """Return the PSNR of perfect renderings, as they are and with colours matched."""
    renderer, rows = Renderer(room), []
    for view in views:
        intrinsics = view.intrinsics.astype(np.float64)
        intrinsics[:2, 2] -= 0.5
        pose = np.linalg.inv(view.viewmat.astype(np.float64))
        seen = renderer.render(pose, intrinsics, _SIZE_WH).rgb / 255
        truth = view.image / 255
        both = (seen, matched(seen, truth))
        rows.append([-10 * np.log10(np.mean((s - truth) ** 2)) for s in both])
    psnr, matched_psnr = np.mean(rows, axis=0)
    return {"psnr": round(psnr, 3), "matched_psnr": round(matched_psnr, 3)}


if __name__ == "__main__":
    main()
