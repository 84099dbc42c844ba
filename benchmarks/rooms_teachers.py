"""Rooms of any furniture, features and capability of teachers, and scores of fusions.

For the benchmarks of fusion on rooms: what takes time is kept in a folder.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from sas_jax.artefacts import files
from sas_jax.artefacts.features import Features, load_features, save_features
from sas_jax.artefacts.files import is_current
from sas_jax.artefacts.space import TextFeatures
from sas_jax.capability import registry as painters
from sas_jax.capability import run, store
from sas_jax.capability.config import CapabilityConfig, SynthesisConfig
from sas_jax.capability.contracts import Recipe, SynthesizerOptions
from sas_jax.capability.measure import class_score, teacher_prediction
from sas_jax.classes import vocabulary
from sas_jax.datasets import registry as datasets
from sas_jax.datasets.contracts import Scan
from sas_jax.evaluation import confusion, semantic
from sas_jax.fusion.fuse import FuseConfig, fuse
from sas_jax.lifting.config import ExtractConfig, LiftConfig
from sas_jax.lifting.extract import extract_scene, extraction_key
from sas_jax.registry import LoadOptions
from sas_jax.rooms.catalogue import named_designs
from sas_jax.rooms.layout.config import RoomConfig
from sas_jax.rooms.scan.config import RoomsConfig, SurfaceConfig, WriteConfig
from sas_jax.rooms.scan.write import write_rooms
from sas_jax.teachers import registry
from sas_jax.teachers.text import load_torch_minilm
from sas_jax.text import minilm_files
from sas_jax.text.prompts import prompts

WORDS = vocabulary("scannet20")
CAPABILITY = CapabilityConfig()
WAYS = ("linear", "add", "capability", "oracle")
ROOMS_SEED = 7
"""Rooms of this set are no other benchmark's, nor any that something learned from."""

Truth = Int[np.ndarray, " P"]


@dataclasses.dataclass(frozen=True)
class Scene:
    """Truth of a room's points, and what each teacher says of them."""

    truth: Truth
    features: dict[str, Features]


def class_texts() -> TextFeatures:
    """Return the text features of the classes."""
    rows = load_torch_minilm().encode(prompts(WORDS.names))
    return TextFeatures(rows, minilm_files.SPACE)


def rooms(designs: str, count: int, folder: pathlib.Path) -> list[Scan]:
    """Write rooms of some designs (see `catalogue.named_designs`), once."""
    root = folder / "data" / designs.replace(":", "-")
    config = RoomsConfig(
        num_train=0,
        num_val=0,
        num_test=count,
        seed=ROOMS_SEED,
        rooms=RoomConfig(designs=named_designs(designs)),
        write=WriteConfig(surface=SurfaceConfig(spacing_m=0.06)),
    )
    write_rooms(root, config, progress=False)
    known = datasets.of_root(root)
    names = known.scan_names(root, "test")
    return [Scan(known, name, known.scan_path(root, name)) for name in names]


def load(weights: Mapping[str, tuple[str, pathlib.Path | None]]) -> dict:
    """Load teachers: label -> (name in the registry, its weights or None)."""
    return {
        label: registry.load(name, LoadOptions(path and str(path)))
        for label, (name, path) in weights.items()
    }


def scenes(
    scans: Sequence[Scan], teachers: Mapping, folder: pathlib.Path, stride: int = 1
) -> list[Scene]:
    """Lift what is not kept yet, and return every room with its truth."""
    config = ExtractConfig(LiftConfig(occlusion_threshold=0.05), frame_stride=stride)
    captioner = registry.load("colour-size")
    made = []
    for scan in scans:
        key = scan.key("views", frame_stride=stride)
        kept = folder / "features" / scan.path.parent.parent.name
        paths = {n: kept / n / f"{scan.name}-{stride}.safetensors" for n in teachers}
        keys = {
            n: extraction_key(key, teacher, config, captioner)
            for n, teacher in teachers.items()
        }
        due = [n for n, path in paths.items() if not is_current(path, keys[n])]
        if due:
            found = extract_scene(
                scan.open(annotations=False),
                [teachers[n] for n in due],
                config,
                captioner=captioner,
            )
            for n, features in zip(due, found, strict=True):
                save_features(paths[n], features, key=keys[n])
        labels = scan.open(label_set=scan.dataset.label_set()).labels
        made.append(Scene(labels, {n: load_features(p) for n, p in paths.items()}))
    return made


def capability(
    teacher, folder: pathlib.Path, painter: pathlib.Path | None = None
) -> Float[np.ndarray, " K"]:
    """Measure a teacher on painted images, which are made once.

    Args:
      teacher: whom to measure.
      folder: what is made is kept below it.
      painter: weights of the painter; None: the shipped one.
    """
    weights = painter and str(painter)
    folder = folder / f"capability{(painter and files.sha256_file(painter)[:8]) or ''}"
    models = SynthesisConfig()
    synthesizer = painters.load_synthesizer(
        models.synthesizer, SynthesizerOptions(weights=weights)
    )
    prompter = painters.load_prompter(models.point_prompter, LoadOptions())
    recipe = Recipe(synthesizer, prompter, synthesizer.masks)
    run.make_images(folder, WORDS, recipe, CAPABILITY)
    table = np.zeros(len(WORDS.names))
    for index, name in enumerate(WORDS.names):
        entry = store.read_images(folder, name)
        found = teacher_prediction(teacher, entry.images, WORDS.names, CAPABILITY)
        table[index] = class_score(entry.refined, found == index, CAPABILITY.compat)
    return table


def iou(
    pairs: Sequence[tuple[Truth, Truth]],
) -> Float[np.ndarray, " K"]:
    """Return IoU in percent of (truth, answer) of several rooms; NaN where absent."""
    count = len(WORDS.names)
    return confusion.score(
        sum(confusion.count(truth, answer, count) for truth, answer in pairs)
    ).iou


def oracle(
    made: Sequence[Scene], names: Sequence[str], texts: TextFeatures
) -> Float[np.ndarray, "T K"]:
    """Return each teacher's true IoU on these rooms' points, 0..1; 0 where absent."""
    rows = [
        iou([(s.truth, semantic.classify(s.features[n], texts)) for s in made])
        for n in names
    ]
    return np.nan_to_num(np.array(rows) / 100)


def fused_iou(
    made: Sequence[Scene],
    names: Sequence[str],
    strategy: str,
    table: Float[np.ndarray, "T K"] | None,
    texts: TextFeatures,
) -> Float[np.ndarray, " K"]:
    """Return the IoU of every class after a fusion of some teachers."""
    config = FuseConfig(strategy=strategy)
    pairs = []
    for scene in made:
        features = {name: scene.features[name] for name in names}
        fused = fuse(features, table, texts, config)
        pairs.append((scene.truth, semantic.classify(fused, texts)))
    return iou(pairs)


def strategies(
    made: Sequence[Scene],
    names: Sequence[str],
    tables: Mapping[str, Float[np.ndarray, " K"]],
    texts: TextFeatures,
    known: Float[np.ndarray, "T K"] | None = None,
) -> dict[str, float]:
    """Return the mIoU of every way to fuse some teachers, and of each alone.

    `capability` has measured capability, `oracle` the true one, `known` that of other
    rooms where it is given.
    """
    measured = np.stack([tables[name] for name in names])
    truly = oracle(made, names, texts)
    ways = {
        "linear": ("linear", None),
        "add": ("add", None),
        "capability": ("capability", measured),
        "oracle": ("capability", truly),
    }
    if known is not None:
        ways["known"] = ("capability", known)
    found = {
        name: np.nanmean(fused_iou(made, [name], "single", None, texts))
        for name in names
    }
    for way, (strategy, table) in ways.items():
        found[way] = np.nanmean(fused_iou(made, names, strategy, table, texts))
    return {way: round(float(value), 1) for way, value in found.items()}
