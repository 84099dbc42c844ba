"""How good are pseudo masks? Measured on renders, whose true masks are known.

A render of a class is noised part of the way and denoised again with the class's
prompt while the attention is recorded; coarse and refined masks are compared with the
true one. As a control each render is also refined from the map of *another* render of
its class: what that reaches is owed to where things usually stand and to the colours,
not to attention. This is the only place where the labels of `Crops` are compared.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from sas_jax.artefacts import files
from sas_jax.artefacts.versions import decided_by, module_of
from sas_jax.capability import sheets
from sas_jax.capability.contracts import JudgeOptions, Recipe, Synthesized, Synthesizer
from sas_jax.capability.measure import intersection_union
from sas_jax.capability.prompt_masks import pseudo_masks
from sas_jax.capability.store import QUALITY_SCHEMA, file_name, quality_path
from sas_jax.registry import Compat, said
from sas_jax.rooms.catalogue import CLASS_NAMES, named_designs
from sas_jax.rooms.layout import RoomConfig
from sas_jax.rooms.painter.crops import CropConfig, Crops, crops_key, make_crops
from sas_jax.rooms.scan.config import FIRST_HELD_OUT_SEED
from sas_jax.text.prompts import image_prompt

_ROOMS = 24
_VIEWS = CropConfig(image_size=64, per_class=1, wide=0)


@dataclasses.dataclass(frozen=True)
class QualityConfig:
    """How pseudo masks are judged.

    Attributes:
      images_per_class: renders per class.
      strength: share of the denoising steps that are run again.
      seed: of the noise.
      compat: which prompt.
    """

    images_per_class: int = 8
    strength: float = 0.6
    seed: int = 0
    compat: Compat = "paper"


class Redrawer(Synthesizer, Protocol):
    """A synthesizer that can paint over images; those that name this judge can."""

    def redraw(
        self,
        images: UInt8[np.ndarray, "m S S 3"],
        prompt: str,
        word: str,
        seeds: Sequence[int],
        strength: float,
    ) -> Synthesized:
        """Noise images part of the way and paint over them with a prompt."""


@dataclasses.dataclass(frozen=True)
class ClassQuality:
    """Pseudo masks of one class beside the truth.

    Attributes:
      name: class.
      images: uint8 [m, S, S, 3], the renders.
      attention: float32 [m, S, S].
      coarse, refined, truth: [m, S, S].
      control: [m, S, S], refined from another render's map; None for a single render.
    """

    name: str
    images: UInt8[np.ndarray, "m S S 3"]
    attention: Float[np.ndarray, "m S S"]
    coarse: Bool[np.ndarray, "m S S"]
    refined: Bool[np.ndarray, "m S S"]
    truth: Bool[np.ndarray, "m S S"]
    control: Bool[np.ndarray, "m S S"] | None

    @property
    def coarse_iou(self) -> float:
        """Return the mean IoU of the coarse masks."""
        return mean_iou(self.coarse, self.truth)

    @property
    def refined_iou(self) -> float:
        """Return the mean IoU of the refined masks."""
        return mean_iou(self.refined, self.truth)

    @property
    def control_iou(self) -> float | None:
        """Return the mean IoU of the control."""
        return None if self.control is None else mean_iou(self.control, self.truth)


def mean_iou(
    masks: Bool[np.ndarray, "m S S"], truth: Bool[np.ndarray, "m S S"]
) -> float:
    """Return the mean over images of the IoU with a truth that is never empty."""
    inter, union = intersection_union(masks, truth)
    return float((inter / union).mean())


def measure_quality(
    crops: Crops,
    recipe: Recipe,
    config: QualityConfig | None = None,
    classes: Sequence[str] = CLASS_NAMES,
    progress: Callable[[str], None] = lambda _: None,
) -> list[ClassQuality]:
    """Judge the pseudo masks of every class that has renders.

    Args:
      crops: renders from rooms that the model was not trained on.
      recipe: under test; its synthesizer can redraw images.
      config: how; None means the defaults.
      classes: which; classes without a render are left out.
      progress: called with each class's name when it is done.
    """
    config = config or QualityConfig()
    found = []
    for name in classes:
        index = CLASS_NAMES.index(name)
        rows = np.flatnonzero(crops.focus == index)[: config.images_per_class]
        if len(rows):
            found.append(_class_quality(crops, rows, index, recipe, config))
        progress(name)
    return found


def _class_quality(
    crops: Crops,
    rows: Int[np.ndarray, " m"],
    index: int,
    recipe: Recipe,
    config: QualityConfig,
) -> ClassQuality:
    name, images = CLASS_NAMES[index], crops.images[rows]
    seeds = range(config.seed, config.seed + len(rows))
    prompt = image_prompt(name, config.compat)
    synthesizer = cast(Redrawer, recipe.synthesizer)
    drawn = synthesizer.redraw(images, prompt, name, seeds, config.strength)
    rules = recipe.prompter, recipe.masks
    coarse, refined = pseudo_masks(images, drawn.attention, *rules)
    truth, control = crops.labels[rows] == index, None
    if len(rows) > 1:
        borrowed = np.roll(drawn.attention, 1, axis=0)
        control = pseudo_masks(images, borrowed, *rules)[1]
    return ClassQuality(name, images, drawn.attention, coarse, refined, truth, control)


class RenderJudge:
    """A `Judge` (see capability/contracts.py) on rooms that are rendered for it.

    It leaves `quality.json` in its folder and a sheet per class under `quality/`.
    Deterministic: yes, for any number of threads.
    """

    ticks = _ROOMS + len(CLASS_NAMES)

    def __init__(self, rooms: RoomConfig, config: QualityConfig | None = None) -> None:
        """Take what is rendered, the furniture that the model was trained on."""
        self._rooms, self._config = rooms, config or QualityConfig()

    def judge(
        self,
        folder: files.PathLike,
        recipe: Recipe,
        progress: Callable[[], None] = lambda: None,
    ) -> dict[str, float | None]:
        """See `Judge`."""
        path = quality_path(folder)
        seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + _ROOMS)
        key = self._key(recipe, crops_key(seeds, _VIEWS, self._rooms))
        if not files.is_current(path, key):
            crops = make_crops(
                seeds, _VIEWS, self._rooms, progress=lambda _: progress()
            )
            found = measure_quality(
                crops, recipe, self._config, progress=lambda _: progress()
            )
            for entry in found:
                _write_sheet(pathlib.Path(folder) / "quality", entry)
            files.write_json(path, quality_table(found), key=key, schema=QUALITY_SCHEMA)
        return files.read_json(path, schema=QUALITY_SCHEMA)["mean"]

    def _key(self, recipe: Recipe, renders: str) -> str:
        models = recipe.synthesizer, recipe.prompter
        made_by = decided_by(__name__, *map(module_of, models))
        specs = [model.spec for model in models]
        return files.content_key([*specs, recipe.masks, self._config, renders, made_by])


def load(options: JudgeOptions) -> RenderJudge:
    """Return the judge for the registry."""
    config = said(
        QualityConfig(compat=options.compat),
        images_per_class=options.images_per_class,
    )
    rooms = RoomConfig(designs=named_designs(options.designs or "typical"))
    return RenderJudge(rooms, config)


def _write_sheet(folder: pathlib.Path, entry: ClassQuality) -> None:
    picture = sheets.sheet(
        entry.name,
        entry.images,
        entry.attention,
        {"coarse": entry.coarse, "refined": entry.refined, "truth": entry.truth},
    )
    with files.atomic_path(folder / f"{file_name(entry.name)}.png") as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def quality_table(found: Sequence[ClassQuality]) -> dict:
    """Return the IoU per class and its mean, as JSON values."""
    kinds = ("coarse_iou", "refined_iou", "control_iou")
    rows = {
        entry.name: {
            "images": len(entry.images),
            **{kind: getattr(entry, kind) for kind in kinds},
        }
        for entry in found
    }
    means = {}
    for kind in kinds:
        known = [row[kind] for row in rows.values() if row[kind] is not None]
        means[kind] = float(np.mean(known)) if known else None
    return {"classes": rows, "mean": means}
