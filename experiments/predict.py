r"""Name the class of every point of a scan, and write it for other programs.

  python experiments/predict.py --scene=my/scan
  python experiments/predict.py --scene=scan.laz --classes=ground,building,tree
  python experiments/predict.py --flagfile=rooms.flags --scene=room0009_00 \
      --source=fused --answers=instances --out=room.ply

Classes are those of the data set (--label_set), or any names: --classes. Who answers is
said as for query.py: --source, --student, --run, --teachers. With --answers=instances a
thing has one class, that of its mean feature; what is in none keeps its points' own.

Writes --out, by default <workspace>/classes/<scan>-<key of its path>/<who>-<key>/
classes.ply, or .las and .laz for a scan that is one:
  .ply        cloud or mesh in the coordinates of the input, in colours of the classes,
              with the integer property `label`, -1 without a class; of Gaussians with
              all that their file says
  .las .laz   the field of the classification; a scan that is LAS or LAZ keeps its other
              fields. Codes begin at 64, those of the standard are not touched; 1 has no
              class
and beside it <file>.json with the names, labels, colours and codes of the classes.
"""

import json
import pathlib

import numpy as np
import scene_parts
import settings
import sources
import stage_flags
from absl import flags

from sas_jax.artefacts.files import atomic_write
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, semantic
from sas_jax.instances.naming import NamingConfig, name_instances
from sas_jax.instances.paint import surest
from sas_jax.scenes import las_write
from sas_jax.scenes.labels import LabelSet, own_label_set

_SCENE = flags.DEFINE_string(
    "scene", None, "Scene name, folder or file.", required=True
)
_CLASSES = flags.DEFINE_list(
    "classes", [], "Names to choose from; default: those of --label_set."
)
_OUT = flags.DEFINE_string("out", None, "File to write: .ply, .las or .laz.")
flags.adopt_module_key_flags(sources)

_NO_CLASS = -1
_NO_COLOR = (90, 90, 90)
_SUFFIXES = (".ply", *las_write.SUFFIXES)

sources.set_defaults()


def main() -> None:
    """Name and write the classes of one scan."""
    names = tuple(" ".join(name.split()) for name in _CLASSES.value)
    _check(names)
    source = sources.of(_SCENE.value)
    labels = own_label_set(names) if names else _labels(source)
    settings.check_texts(source.features.space, labels.questions)
    found = _classes(source, labels)
    out = pathlib.Path(_OUT.value) if _OUT.value else _default_out(source, labels)
    is_las = out.suffix.lower() in las_write.SUFFIXES
    first = las_write.class_codes(len(labels.classes.names)) if is_las else None
    if first is not None:
        _write_las(out, source, found, first)
    else:
        _write_ply(out, source, found, labels)
    note = out.with_name(f"{out.name}.json")
    atomic_write(note, _note(source, labels, found, first))
    print(f"answered by: {source.who}")
    print(settings.table(_rows(labels, found)))
    print(f"classes: {out}, their names: {note}")


def _check(names: tuple[str, ...]) -> None:
    if wrong := [name for name in names if not any(map(str.isalnum, name))]:
        raise InputError(
            f"predict: names with a word are required for --classes, got {wrong[0]!r}. "
            "Correct the list."
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"predict: --classes must hold each name once, got {twice[0]} twice. "
            "Correct the list."
        )
    if _OUT.value and not _OUT.value.lower().endswith(_SUFFIXES):
        raise InputError(
            f"predict: --out must end in {', '.join(_SUFFIXES)}, got {_OUT.value}. "
            "Correct the name."
        )


def _labels(source: sources.Source) -> LabelSet:
    return source.scan.dataset.label_set(stage_flags.LABEL_SET.value)


def _classes(source: sources.Source, labels: LabelSet) -> np.ndarray:
    """Return the class of every point, [P] i32, -1 where nobody knows."""
    asked = tuple(protocol.questions(labels, settings.compat()))
    texts = settings.encoded(source.features.space, asked)
    scores = semantic.text_scores(source.features, texts)
    if source.superpoints is not None:
        scores = scores.over_superpoints(source.superpoints)
    found = protocol.classes_of("", scores, labels)[""]
    if source.things is None:
        return found
    # One class a thing, whatever instances are named by elsewhere.
    named = name_instances(
        source.things, source.features, texts, labels, NamingConfig()
    )
    thing = surest(named)
    return np.where(thing >= 0, named.classes[thing], found).astype(np.int32)


def _default_out(source: sources.Source, labels: LabelSet) -> pathlib.Path:
    kind = source.scan.path.suffix.lower()
    suffix = kind if kind in las_write.SUFFIXES else ".ply"
    answers = source.folder(labels.classes)
    folder = settings.workspace().classes(answers.parent.name, answers.name)
    return folder / f"classes{suffix}"


def _write_ply(
    out: pathlib.Path, source: sources.Source, found: np.ndarray, labels: LabelSet
) -> None:
    colors = labels.colors(found, _NO_COLOR)
    label = {"label": found.astype(np.int32)}
    if source.splats is not None:
        source.splats.write(out, colors=colors, properties=label)
        return
    scene = source.scene
    scene_parts.write_scene(
        out, scene, colors=colors, faces=scene.faces, properties=label
    )


def _write_las(
    out: pathlib.Path, source: sources.Source, found: np.ndarray, first: int
) -> None:
    codes = np.where(found >= 0, found + first, las_write.UNCLASSIFIED).astype(np.uint8)
    scan, scene = source.scan.path, source.scene
    if scan.suffix.lower() in las_write.SUFFIXES:
        las_write.write_classified(out, scan, codes)
    else:
        las_write.write_las(out, scene.in_input(scene.points), codes, scene.colors)


def _note(
    source: sources.Source, labels: LabelSet, found: np.ndarray, first: int | None
) -> bytes:
    classes = [
        {
            "label": index,
            "name": name,
            "color": labels.palette[index].tolist(),
            **({} if first is None else {"las": first + index}),
            "points": int((found == index).sum()),
        }
        for index, name in enumerate(labels.classes.names)
    ]
    record = {
        "scan": str(source.scan.path.absolute()),
        "answered_by": source.who,
        "label_set": labels.classes.name,
        "no_class": {
            "label": _NO_CLASS,
            **({} if first is None else {"las": las_write.UNCLASSIFIED}),
            "points": int((found < 0).sum()),
        },
        "classes": classes,
    }
    return json.dumps(record, indent=1, ensure_ascii=False).encode()


def _rows(labels: LabelSet, found: np.ndarray) -> list[dict[str, object]]:
    """Return the classes that were found, the largest first."""
    names = {_NO_CLASS: "(none)", **dict(enumerate(labels.classes.names))}
    which, counts = np.unique(found, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        {
            "class": names[int(which[i])],
            "label": int(which[i]),
            "points": int(counts[i]),
            "percent": float(100 * counts[i] / len(found)),
        }
        for i in order
    ]


if __name__ == "__main__":
    settings.run(main)
