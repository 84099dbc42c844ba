r"""Train 3-D Gaussians of scenes on their posed images, beginning with their scans.

    python experiments/train_splats.py --flagfile=rooms.flags --scene=room0000_00
    python experiments/train_splats.py --scene=my/scan --image_size=640,480

Every --held_out_every-th frame is held out. Of each scene it prints a line: PSNR and
SSIM of these frames as they are rendered, and PSNR with the gain and offset of each
colour matched (a half of each frame by its other half), since cameras choose exposure
and white balance anew. It writes into <workspace>/splats:

    <scene>.ply     Gaussians, as every viewer of 3-D Gaussian Splatting reads them
    <scene>.png     held-out frames beside what is rendered
    <scene>.json    the line's numbers

A killed run goes on at its last checkpoint, to the same bits; what is up to date is
skipped, and several workers share the scenes. Without --scene all of --splits, or
--scenes, are trained.
"""

import logging
import pathlib
from collections.abc import Sequence

import numpy as np
import settings
import stage_flags
from absl import flags
from PIL import Image
from tqdm import tqdm

from sas_jax.artefacts.files import atomic_path, read_json, write_json
from sas_jax.artefacts.stage import Job
from sas_jax.datasets.contracts import Scan
from sas_jax.gaussians.files.formats import write_splats
from sas_jax.gaussians.score import render_view, score
from sas_jax.gaussians.seed import seed_splats
from sas_jax.gaussians.splats import Splats
from sas_jax.gaussians.train import train, training_key
from sas_jax.gaussians.training_config import SplatTrainConfig
from sas_jax.gaussians.training_step import splats_of
from sas_jax.gaussians.views import View, Views, read_views
from sas_jax.scenes.scene import Scene
from sas_jax.view.pictures import contact_sheet

_SCENE = flags.DEFINE_string("scene", None, "Scene name or folder; default: --splits.")
_SCHEMA = "sas_jax.splat_scores/1"
_SHOWN = 4


def main() -> None:
    """Train what is not up to date, and print a line for each scene."""
    named = [settings.named_scan(_SCENE.value)] if _SCENE.value else None
    scans = {s.name: s for s in named or settings.scans(stage_flags.SPLITS.value)}
    config, frames = stage_flags.splat_training(), stage_flags.EXTRACT.make()
    stride, size = frames.frame_stride, frames.image_size_wh
    memo, workspace = settings.memo(), settings.workspace()
    jobs = []
    for name, scan in scans.items():
        views = scan.key("views", frame_stride=stride, memo=memo)
        key = training_key(views, stride, size, config)
        jobs.append(Job(name, workspace.splats(name, ".json"), key))
    settings.run_scenes("splats", jobs, lambda job: _make(scans[job.name], job, config))
    rows = [read_json(job.path, schema=_SCHEMA) for job in jobs]
    print(settings.table(rows))


def _make(scan: Scan, job: Job, config: SplatTrainConfig) -> None:
    """Train the Gaussians of a scene and write all of its files, the scores last."""
    frames, workspace = stage_flags.EXTRACT.make(), settings.workspace()
    scene = scan.open(image_size_wh=frames.image_size_wh, annotations=False)
    views = _views(scene, frames.frame_stride, config)
    seeds = seed_splats(scene.points, scene.colors, config.seeds)
    if scene.origin.any():
        logging.warning(
            "%s: centres are relative to %s m, since f32 holds no map coordinates",
            *(scan.name, scene.origin.tolist()),
        )
    checkpoint = workspace.splats(scan.name, ".checkpoint")
    with tqdm(total=config.steps, desc=scan.name, unit="step", leave=False) as bar:

        def told(done: int, loss: float, number: int) -> None:
            bar.set_postfix_str(f"loss {loss:.4f}, {number} Gaussians", refresh=False)
            bar.update(done - bar.n)

        trained = train(
            seeds, views.train, config, checkpoint=checkpoint, key=job.key, on_step=told
        )
    splats = splats_of(trained.state)
    write_splats(workspace.splats(scan.name, ".ply"), splats)
    _draw(workspace.splats(scan.name, ".png"), splats, views.held_out)
    scores = score(splats, views.held_out)
    row = {
        "scene": scan.name,
        "trained on": len(views.train),
        "held out": scores.frames,
        "skipped": views.skipped,
        "Gaussians": len(splats),
        "steps": trained.step,
        "seconds": round(trained.seconds, 1),
        "PSNR dB": round(scores.psnr, 2),
        "matched dB": round(scores.matched_psnr, 2),
        "SSIM": f"{scores.ssim:.3f}",
    }
    write_json(job.path, row, key=job.key, schema=_SCHEMA)
    checkpoint.unlink(missing_ok=True)


def _views(scene: Scene, stride: int, config: SplatTrainConfig) -> Views:
    names = scene.frame_source.names[::stride]
    with tqdm(total=len(names), desc="frames", unit="frame", leave=False) as bar:
        return read_views(
            scene,
            stride=stride,
            held_out_every=config.held_out_every,
            on_frame=bar.update,
        )


def _draw(path: pathlib.Path, splats: Splats, views: Sequence[View]) -> None:
    """Write some of the held-out frames, each beside its rendering."""
    chosen = views[:: -(-len(views) // _SHOWN)]
    pictures, captions = [], []
    for view in chosen:
        seen = np.rint(255 * render_view(splats, view))
        pictures += [view.image, seen.astype(np.uint8)]
        captions += [f"frame {view.name}, held out", "rendered"]
    sheet = contact_sheet(pictures, 2, captions=captions)
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


if __name__ == "__main__":
    settings.run(main)
