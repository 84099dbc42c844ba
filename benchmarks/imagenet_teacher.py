"""What the teacher `imagenet` finds: in photographs, and in two real captures.

  python benchmarks/imagenet_teacher.py [--photos=FOLDER ...] [--samples=FOLDER]

Photographs are those that scikit-learn ships, and those of PHOTOS in other folders
(scikit-image's `data`, for example): what speaks most, and which of all questions the
picture answers best. Captures are the two of tests/e2e/test_samples.py: each question
is asked of several teachers as query.py asks it, and judged by boxes drawn by hand into
the first frame. `first` says whether the region that answers best lies in what was
asked for, `most` whether that is lit more than everything else that has a box.
"""

import argparse
import importlib.util
import itertools
import pathlib
import sys

import measure
import numpy as np
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.artefacts.space import TextFeatures
from sas_jax.capability.store import read_table
from sas_jax.classes import vocabulary
from sas_jax.datasets import registry as datasets
from sas_jax.evaluation import query
from sas_jax.fusion.fuse import FuseConfig, fuse
from sas_jax.lifting.extract import extract_scene
from sas_jax.lifting.project import project
from sas_jax.superpoints.config import SuperpointConfig
from sas_jax.superpoints.stage import segment_scene
from sas_jax.teachers import registry
from sas_jax.teachers.imagenet.words import lemmas
from sas_jax.text.prompts import prompts

ROOT = pathlib.Path(__file__).resolve().parent.parent
PHOTOS = {
    "china.jpg": "a temple",
    "flower.jpg": "a flower",
    "coffee.png": "a cup of coffee",
    "chelsea.png": "a cat",
    "astronaut.png": "an astronaut",
    "rocket.jpg": "a rocket",
    "motorcycle_left.png": "a motorcycle",
    "camera.png": "a man with a camera",
}
# Pixels (left, top, right, bottom) of 640 x 480, for each thing.
BOXES = {
    "tum_desk": {
        "desk": (
            *((40, 200, 170, 245), (235, 190, 330, 248), (330, 190, 640, 250)),
            *((314, 252, 346, 375), (525, 255, 582, 372)),
        ),
        "chair": ((400, 235, 530, 430), (10, 270, 240, 470)),
        "globe": ((60, 18, 160, 98),),
        "bottle": (
            *((162, 32, 210, 105), (288, 28, 310, 102), (336, 122, 352, 186)),
            *((364, 138, 380, 186), (388, 143, 400, 182)),
        ),
        "bag": ((472, 100, 542, 187),),
        "floor": ((250, 400, 360, 470), (560, 390, 630, 470)),
        "partition": ((330, 20, 460, 110), (100, 115, 160, 190)),
    },
    "living_room": {
        "chair": ((335, 110, 610, 380),),
        "curtain": ((180, 10, 260, 340),),
        "window": ((0, 20, 170, 380),),
        "wall": ((300, 10, 470, 100),),
        "floor": ((60, 400, 600, 475),),
    },
}
QUESTIONS = {
    "tum_desk": {
        "a desk": "desk",
        "a table": "desk",
        "a chair": "chair",
        "something to sit on": "chair",
        "a bottle": "bottle",
        "a plastic bag": "bag",
        "a globe": "globe",
    },
    "living_room": {
        "a chair": "chair",
        "a rocking chair": "chair",
        "a curtain": "curtain",
        "a window": "window",
        "a sliding door": "window",
        "the floor": "floor",
    },
}
SETTINGS = {"tum_desk": {"depth_scale": 5000.0}, "living_room": {}}
TEACHERS = ("rooms-dense", "rooms-mask", "imagenet")
SETS = (TEACHERS[:2], TEACHERS[2:], TEACHERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", nargs="*", default=[])
    parser.add_argument("--samples", default=ROOT.parent / "shared" / "samples")
    args = parser.parse_args()
    teacher = registry.load("imagenet")
    found = importlib.util.find_spec("sklearn")
    shipped = [pathlib.Path(found.origin).parent / "datasets/images"] if found else []
    photographs(teacher, [*shipped, *map(pathlib.Path, args.photos)])
    for name in BOXES:
        folder = pathlib.Path(args.samples) / name
        if folder.is_dir():
            capture(folder, teacher)
        else:
            print(f"{name}: not there ({folder})")


def photographs(teacher, folders: list[pathlib.Path]) -> None:
    asked = list(PHOTOS.values())
    texts = teacher.encode_text(asked)
    for folder, (name, truth) in itertools.product(folders, PHOTOS.items()):
        if not (folder / name).is_file():
            continue
        with Image.open(folder / name) as opened:
            image = np.asarray(opened.convert("RGB"))
        classes, values = teacher.evidence(image)
        mean = values.mean((1, 2))
        most = np.argsort(-mean)[:4]
        said = [f"{lemmas()[classes[k]][0]} {mean[k]:.2f}" for k in most]
        vector = teacher.said(classes, values).mean((0, 1))
        answer = asked[int((texts @ vector).argmax())]
        right = "right" if answer == truth else "wrong"
        print(f"{name:<20} {', '.join(said):<70} {truth}: {right} ({answer})")


def capture(folder: pathlib.Path, imagenet) -> None:
    """Ask all questions of a capture, of all sets of teachers."""
    scan = datasets.scan_at(folder, SETTINGS[folder.name])
    scene = scan.open(annotations=False)
    superpoints = segment_scene(scene, SuperpointConfig())
    inside = boxed(scene, BOXES[folder.name])
    teachers = {n: imagenet if n == "imagenet" else registry.load(n) for n in TEACHERS}
    features = {}
    for name, teacher in teachers.items():
        once = extract_scene(scene, [teacher])
        wall_s, cpu_s = measure.time_once(lambda t=teacher: extract_scene(scene, [t]))
        frames = len(scene.frame_source.names)
        row = {"what": "extract", "teacher": name, "capture": folder.name}
        row |= {"wall_s_per_frame": round(wall_s / frames, 2)}
        measure.append(
            "imagenet_teacher", row | {"cpu_s_per_frame": round(cpu_s / frames, 2)}
        )
        features[name] = once[0]
    for chosen in SETS:
        for strategy in ("capability", "add") if len(chosen) > 1 else ("single",):
            fused = fused_by(strategy, {n: features[n] for n in chosen}, imagenet)
            judged(folder.name, chosen, strategy, scene, fused, superpoints, inside)


def boxed(scene, boxes) -> dict[str, np.ndarray]:
    """Return which points the first frame sees in the boxes of each thing."""
    frame = next(iter(scene.frames()))
    pixel, visible = project(scene.points, frame)
    row, column = pixel.T
    return {
        name: visible
        & np.any(
            [
                (column >= a) & (row >= b) & (column < c) & (row < d)
                for a, b, c, d in each
            ],
            axis=0,
        )
        for name, each in boxes.items()
    }


def fused_by(strategy: str, features: dict, teacher):
    """Return features as fuse_features.py makes them, by tables that are shipped."""
    if strategy == "single":
        return next(iter(features.values()))
    names = vocabulary("scannet20").names
    texts = TextFeatures(teacher.encode_text(prompts(names)), teacher.spec.text_space)
    table = None
    if strategy == "capability":
        paths = [registry.shipped_capability(name) for name in features]
        table = np.stack([read_table(path).miou for path in paths])
    return fuse(features, table, texts, FuseConfig(strategy=strategy))


def judged(name, chosen, strategy, scene, features, superpoints, inside) -> None:
    from sas_jax.teachers.text import load_torch_minilm

    encode, space = load_torch_minilm().encode, features.space
    features = query.unit_features(features)
    anything = TextFeatures(encode(list(query.ANYTHING)), space)
    totals = np.zeros(2, int)
    for text, truth in QUESTIONS[name].items():
        heat = query.point_relevancy(
            features,
            TextFeatures(encode([text]), space),
            anything,
            superpoints=superpoints,
        )
        lit = {k: float(np.nanmean(heat[points])) for k, points in inside.items()}
        order = sorted(lit, key=lit.__getitem__, reverse=True)
        found = query.regions(scene.points, heat, query.config_for(scene.points))
        first = bool(found) and float(inside[truth][found[0].points].mean()) > 0.5
        totals += (first, order[0] == truth)
        row = {"what": "question", "capture": name, "teachers": "+".join(chosen)}
        row |= {"strategy": strategy, "question": text, "asked_for": truth}
        row |= {"first": first, "most": order[0] == truth, "regions": len(found)}
        row["lit"] = {k: round(lit[k], 2) for k in order[:3]}
        measure.append("imagenet_teacher", row)
    count = len(QUESTIONS[name])
    print(
        f"{name} {'+'.join(chosen)} {strategy}: first {totals[0]}/{count}, most "
        f"{totals[1]}/{count}"
    )


if __name__ == "__main__":
    main()
