"""Pictures of the report; each function returns a section, or None without its data."""

import functools

import numpy as np
import settings
import stage_flags
import students
import trained_runs
from PIL import Image
from scored import question_texts

from sas_jax.artefacts.features import Features, load_features
from sas_jax.artefacts.files import read_json
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.capability.store import QUALITY_SCHEMA, quality_path
from sas_jax.evaluation import protocol, semantic
from sas_jax.instances import scores
from sas_jax.instances.files import load_instances
from sas_jax.instances.paint import instance_colors
from sas_jax.scenes.scene import Scene
from sas_jax.view import pictures, report
from sas_jax.view.report import Section, Table
from sas_jax.view.scalars import read_scalars

_SCENES = 3
_VIEW = (460, 345)
# Four pictures side by side are drawn at two thirds of their size: 12 pt and more.
CAPTION_PX = 26
"""Of pictures that stand four side by side."""
_NUM_SUPERPOINT_COLORS = 997
_PROPOSALS = "proposals"
_KINDS = ("AP", "AP50", "AP25")


@functools.cache
def scenes() -> tuple[Scene, ...]:
    """Return the scenes that pictures are of, opened once."""
    scans = settings.labelled_scans()[:_SCENES]
    labels, size_wh = settings.label_set(), stage_flags.EXTRACT.make().image_size_wh
    return tuple(s.open(image_size_wh=size_wh, label_set=labels) for s in scans)


@functools.cache
def run_name() -> str | None:
    """Return the run whose student is shown; None without any."""
    names, _ = students.trained()
    full = [name for name in names if trained_runs.variant(name) == "full"]
    return next(iter(full or names), None)


def own_colors(scene: Scene) -> np.ndarray:
    """Return the colours of the points; grey where the file has none."""
    if scene.colors is not None:
        return scene.colors
    return np.full((len(scene.points), 3), 160, np.uint8)


def drawn(scene: Scene, colors: np.ndarray) -> np.ndarray:
    """Return a scene in some colours, from outside."""
    views = pictures.render_views(
        scene.points,
        colors,
        normals=scene.normals,
        faces=scene.faces,
        azimuths_deg=(50.0,),
        size_wh=_VIEW,
        spacing_m=0.06,
    )
    return views[0]


def _sheet(images: list[np.ndarray], captions: list[str], columns: int) -> np.ndarray:
    return pictures.contact_sheet(
        images, columns, captions=captions, caption_px=CAPTION_PX
    )


def frames() -> Section:
    """Show frames of the test scenes as the teachers get them."""
    images = []
    for scene in scenes():
        names = scene.frame_source.names
        chosen = names[:: max(len(names) // 4, 1)][:4]
        images += [scene.frame_source.read(name).rgb for name in chosen]
    sheet = pictures.contact_sheet(images, 4)
    return Section(
        "The scenes",
        figures=[report.picture(sheet, "Frames of test scenes, one scene a row.")],
    )


def predictions() -> Section | None:
    """Show labels of fused features and student beside the truth."""
    labels = settings.label_set()
    run, images, captions = run_name(), [], []
    for scene in scenes():
        shown = {"colour": own_colors(scene), "truth": labels.colors(scene.labels)}
        shown |= _predictions(scene)
        if run is not None:
            prediction = _named(students.features(run, scene.points))
            shown[f"student {run}"] = labels.colors(prediction)
        images += [drawn(scene, colors) for colors in shown.values()]
        captions += [f"{scene.name}: {what}" for what in shown]
    if not images:
        return None
    columns = len(images) // len(scenes())
    sheet = pictures.contact_sheet(
        images, columns, captions=captions, caption_px=CAPTION_PX
    )
    legend = [
        (name, report.css(color))
        for name, color in zip(labels.classes.names, labels.palette, strict=True)
    ]
    caption = "Labels by text alone; black is a point without a feature."
    return Section("Predictions", figures=[report.picture(sheet, caption)], keys=legend)


def _predictions(scene: Scene) -> dict[str, np.ndarray]:
    path = settings.workspace().fused("capability", scene.name)
    if not path.exists():
        return {}
    features = load_features(path, scene.points)
    return {"fused": settings.label_set().colors(_named(features))}


def _named(features: Features) -> np.ndarray:
    scores = semantic.text_scores(features, question_texts(features.space))
    return protocol.classes_of("", scores, settings.label_set())[""]


def superpoints() -> Section | None:
    """Show the superpoints that distillation averages over."""
    images, captions = [], []
    for scene in scenes():
        path = settings.workspace().superpoints(scene.name)
        if not path.exists():
            continue
        ids = load_superpoints(path, scene.points)
        rng = np.random.default_rng(0)
        table = rng.integers(40, 240, (_NUM_SUPERPOINT_COLORS, 3)).astype(np.uint8)
        images.append(drawn(scene, table[ids % _NUM_SUPERPOINT_COLORS]))
        captions.append(f"{scene.name}: {ids.max() + 1:,} superpoints")
    if not images:
        return None
    sheet = pictures.contact_sheet(
        images, len(images), captions=captions, caption_px=CAPTION_PX
    )
    caption = "Superpoints: graph segmentation of the mesh by its normals."
    return Section("Superpoints", figures=[report.picture(sheet, caption)])


def capability() -> Section | None:
    """Show the synthesized images, their masks and every teacher's masks."""
    folder = settings.workspace().capability
    sheets = sorted((folder / "images").glob("*.png"))
    if not sheets:
        return None
    figures = [
        report.picture(
            np.asarray(Image.open(path).convert("RGB")), path.stem.replace("_", " ")
        )
        for path in sheets
    ]
    text = [
        "Each sheet is one class: images that the diffusion model painted from its "
        "name, the attention to the name, the mask above the threshold, the mask "
        "refined from point prompts, and where each teacher sees the class. "
        "Capability is the mean IoU of the last rows with the refined mask."
    ]
    tables = []
    quality = quality_path(folder)
    if quality.exists():
        tables = [_quality_table(read_json(quality, schema=QUALITY_SCHEMA))]
    return Section("Capability", text=text, figures=figures, tables=tables)


def _quality_table(quality: dict) -> report.Table:
    kinds = ("coarse_iou", "refined_iou", "control_iou")
    named = {**quality["classes"], "mean": quality["mean"]}
    rows = [
        [name, *("-" if row[k] is None else f"{100 * row[k]:.0f}" for k in kinds)]
        for name, row in named.items()
    ]
    return report.Table(
        ["class", "coarse mask IoU", "refined mask IoU", "control IoU"],
        rows,
        caption="Quality of the pseudo masks, on noised renders with known masks. The "
        "control is refined from the attention to another render of the class.",
    )


def curves() -> Section | None:
    """Show the losses of the students."""
    workspace = settings.workspace()
    series: dict[str, dict] = {}
    for run in workspace.runs():
        for tag, curve in read_scalars(workspace.tensorboard(run)).items():
            if "loss" in tag:
                series.setdefault(tag, {})[run] = curve
    if not series:
        return None
    figures = [
        report.drawing(
            report.lines(runs, xlabel="step", ylabel=tag), f"{tag} while training"
        )
        for tag, runs in sorted(series.items())
    ]
    text = [
        "Runs with the same first stage share it: a curve that begins late belongs to "
        "a run that branched off another one there."
    ]
    return Section("Training", text=text, figures=figures)


def instances() -> Section | None:
    """Show what `evaluate.py --instances` scored, and the proposals of the scenes."""
    folder = settings.workspace().instance_scores(settings.score_folder(), "").parent
    rows = [scores.load(path) for path in sorted(folder.glob("*.json"))]
    heads = [f"{of}{kind}" for of in ("", "masks: ") for kind in _KINDS]
    cells = [
        [
            row.name,
            *(f"{100 * value:.1f}" for value in row.named.mean()),
            *(f"{100 * value:.1f}" for value in row.masks.mean()),
        ]
        for row in rows
    ]
    images, captions = [], []
    for scene in scenes():
        path = settings.workspace().instances(_PROPOSALS, scene.name)
        if path.exists():
            found = load_instances(path, scene.points)
            images.append(drawn(scene, instance_colors(found)))
            captions.append(f"{scene.name}: {len(found)} {_PROPOSALS}")
    if not rows and not images:
        return None
    figures = []
    if images:
        sheet = pictures.contact_sheet(
            images, len(images), captions=captions, caption_px=CAPTION_PX
        )
        caption = "Where masks overlap, the surest one is on top; grey is in none."
        figures = [report.picture(sheet, caption)]
    tables = [Table(["masks + features that name them", *heads], cells)] if rows else []
    return Section("Instances", tables=tables, figures=figures)
