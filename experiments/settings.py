"""What every script does the same way: run, find scenes, load teachers, encode texts.

Flags are read in `experiments/` only; the library gets frozen dataclasses.
"""

import dataclasses
import difflib
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import launch
import stage_flags
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts import files
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.artefacts.stage import Job, Tally, run_jobs
from sas_jax.artefacts.stamps import Memo
from sas_jax.artefacts.workspace import Workspace, name_of_place, plain_name
from sas_jax.classes import vocabulary
from sas_jax.datasets import registry as datasets
from sas_jax.datasets.contracts import Dataset, Scan
from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.scenes.labels import LabelSet
from sas_jax.stages import command
from sas_jax.text import registry
from sas_jax.text.prompts import prompts
from sas_jax.text.words import Reading
from sas_jax.weights.cards import card

run = launch.run


def workspace() -> Workspace:
    """Return where all results lie."""
    return Workspace(stage_flags.WORKSPACE.value)


def memo() -> Memo:
    """Return what is remembered of the data set's files, in the workspace."""
    return Memo(workspace().stamps, stage_flags.VERIFY.value)


def is_current(path: pathlib.Path, key: str) -> bool:
    """Tell whether an artefact is up to date; --verify hashes it in any case."""
    return files.is_current(path, key, verify=stage_flags.VERIFY.value)


def data_root() -> pathlib.Path:
    """Return the folder of the data set."""
    return pathlib.Path(stage_flags.DATA_ROOT.value)


def dataset() -> Dataset:
    """Return the data set: --dataset, or what --data_root is recognised as.

    Raises:
      InputError: for a folder or a name that is unknown, listing what is known.
    """
    if stage_flags.DATASET.value is not None:
        return datasets.load(stage_flags.DATASET.value, _dataset_settings())
    return datasets.of_root(data_root(), _dataset_settings())


def _dataset_settings(place: str = "") -> dict[str, object]:
    """Return what data sets may be set to: every flag, and where clouds are kept.

    A scan outside of the data set keeps its own below `place`: there may be another one
    of its folder's name.
    """
    values = flags.FLAGS.flag_values_dict()
    return {
        **{name: value for name, value in values.items() if value is not None},
        "keep": workspace().clouds / place,
        "memo": Memo(workspace().stamps / place, stage_flags.VERIFY.value),
        "progress": functools.partial(tqdm, desc="cloud", unit="frame"),
    }


def label_set() -> LabelSet:
    """Return the classes that scans are scored on, --label_set if it is given."""
    named = stage_flags.SCENES.value
    known = named_scan(named[0], "--scenes").dataset if named else dataset()
    return known.label_set(stage_flags.LABEL_SET.value)


def scans(splits: Sequence[str]) -> list[Scan]:
    """Return the scans that --scenes names, or those of the splits, at least one.

    Raises:
      InputError: where there is none, or no such scene.
    """
    for split in splits:
        plain_name("--splits", split)
    if stage_flags.SCENES.value:
        named = [named_scan(name, "--scenes") for name in stage_flags.SCENES.value]
        return list({scan.name: scan for scan in named}.values())
    known, root = dataset(), data_root()
    names = [n for split in splits for n in known.scan_names(root, split)]
    found = [Scan(known, n, known.scan_path(root, n)) for n in dict.fromkeys(names)]
    if not found:
        raise InputError(
            f"data: at least one scene is required, got none in split "
            f"{' or '.join(splits) or '(none)'} ({root}). Give splits that have some."
        )
    return found


def labelled_scans() -> list[Scan]:
    """Return the scans to score on: those of --eval_split that have labels.

    Raises:
      InputError: where none has; ScanNet's test split, for example.
    """
    found = scans([plain_name("--eval_split", stage_flags.EVAL_SPLIT.value)])
    labelled = [scan for scan in found if scan.has_labels]
    without = [scan.name for scan in found if not scan.has_labels]
    if not labelled:
        raise InputError(
            f"evaluate: scenes with labels are required, got none of {len(found)} "
            f"in split {stage_flags.EVAL_SPLIT.value} ({data_root()}). Give a split "
            "with labels, e.g. --eval_split=val."
        )
    if without:
        print(f"left out, without labels: {', '.join(without)}")
    return labelled


def named_scan(name: str, flag: str = "--scene") -> Scan:
    """Return the scan of a name in the data set, or of a folder or file anywhere.

    One that lies in the data set has its name there, however it is given; the name of
    another one says where it lies too (see `workspace.name_of_place`).

    Args:
      name: of a scan, or its path.
      flag: where users say it.

    Raises:
      InputError: when neither is there, or the folder is of no known layout.
    """
    try:
        known, fault = dataset(), None
    except InputError as error:
        known, fault = None, error
    looked_for = [pathlib.Path(name).expanduser().absolute()]
    if known is not None and "/" not in name and name not in ("", ".", ".."):
        looked_for.insert(0, known.scan_path(data_root(), name))
        if looked_for[0].exists():
            return Scan(known, name, looked_for[0])
    if name and looked_for[-1].exists():
        return _scan_at(looked_for[-1], known)
    if "/" in name:
        place = looked_for[-1]
        beside = place.parent.iterdir() if place.parent.is_dir() else ()
        near = difflib.get_close_matches(place.name, [p.name for p in beside], 1)
        meant = f" Is {near[0]} meant?" if near else " Correct the path."
        raise InputError(
            f"flags: {flag} must name a scan's folder or file that is there, got none "
            f"({place}).{meant}"
        )
    raise InputError(
        f"flags: {flag} must name a scan of the data set, or a scan's folder or file, "
        f"got {name} ({' and '.join(map(str, looked_for))}: not there). "
        + (f"No data set: {fault}" if fault else "Correct the name.")
    ) from fault


def _scan_at(place: pathlib.Path, known: Dataset | None) -> Scan:
    kind = stage_flags.DATASET.value
    found = datasets.scan_at(place, _dataset_settings(), name=kind)
    if known is not None:
        own = known.scan_path(data_root(), found.name)
        if own.exists() and own.samefile(found.path):
            return Scan(known, found.name, own)
    name = name_of_place(found.path)
    found = datasets.scan_at(place, _dataset_settings(name), name=found.dataset.name)
    return dataclasses.replace(found, name=name)


def fused_name(strategy: str | None = None) -> str:
    """Return the folder name of a fusion, --strategy's by default.

    Each single teacher has its own.
    """
    chosen = stage_flags.FUSE.make()
    if (strategy or chosen.strategy) == "single":
        teacher = chosen.teacher or stage_flags.TEACHERS.value[0]
        return f"single-{plain_name('--teacher', teacher)}"
    return strategy or chosen.strategy


def run_scenes(label: str, jobs: Sequence[Job], make: Callable[[Job], None]) -> Tally:
    """Make what is not up to date of a stage's scenes, beside other workers.

    Args:
      label: of the progress bar.
      jobs: one artefact a scene.
      make: makes and saves one.
    """
    with tqdm(total=len(jobs), desc=label, unit="scene") as bar:
        verify = stage_flags.VERIFY.value
        tally = run_jobs(jobs, make, verify=verify, progress=bar.update)
        bar.leave = tally.made > 0  # nothing to be done is told in words
    return tally


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the summary of a stage: a line of names, a line for each row."""
    lines = [list(rows[0])]
    for row in rows:
        cells = row.values()
        lines.append([f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pairs = (zip(line, widths, strict=True) for line in lines)
    return "\n".join("  ".join(f"{c:>{w}}" for c, w in line) for line in pairs)


def check_teachers() -> None:
    """Check the models that the flags name, before anything is computed.

    Raises:
      InputError: for a model that cannot be loaded, or weights of one not asked for.
    """
    from sas_jax.teachers import registry as models

    if not stage_flags.TEACHERS.value:
        raise InputError(
            "flags: --teachers must name at least one of "
            f"{', '.join(models.names('dense', 'mask', 'heat'))}, got none. Name some "
            "of them."
        )
    for name in stage_flags.TEACHERS.value:
        models.check(name, model_options(name), contracts=("dense", "mask", "heat"))
    if captioner := asked_captioner():
        models.check(captioner, model_options(captioner), contracts=("captioner",))


def asked_captioner() -> str | None:
    """Return the name of the captioner; None where no teacher has masks."""
    from sas_jax.teachers import registry as models

    known = [models.ENTRIES.get(name) for name in stage_flags.TEACHERS.value]
    has_masks = any(row and row.contract != "dense" for row in known)
    return stage_flags.CAPTIONER.value if has_masks else None


def check_one_text_space() -> None:
    """Refuse dense teachers that cannot be fused, before any of them looks.

    Raises:
      InputError: for cards of several text spaces.
    """
    described = filter(None, map(card, stage_flags.TEACHERS.value))
    dense = {each.name: each.text_space for each in described if each.kind == "dense"}
    if len(set(dense.values())) > 1 and stage_flags.strategy() != "single":
        told = ", ".join(f"{name} in {space}" for name, space in dense.items())
        raise InputError(
            f"flags: dense teachers of one text space are required to be fused, got "
            f"{told}. Name those of one in --teachers."
        )


def load_model(name: str):
    """Load a teacher or captioner as the flags say.

    Heat teachers are asked for the classes of --vocabulary, and give masks.
    """
    from sas_jax.teachers import registry as models
    from sas_jax.teachers.heat import LabelledHeat

    model = models.load(name, model_options(name))
    if models.entry(name).contract == "heat":
        return LabelledHeat(model, vocabulary(stage_flags.VOCABULARY.value).names)
    return model


def model_options(name: str) -> LoadOptions:
    """Return weights, device, recipe and settings of a model, as the flags say."""
    from sas_jax.teachers import registry as models

    made = stage_flags.MODELS.get(name)
    fields = made.config.__dataclass_fields__ if made else ()
    common = {"compat": compat()} if "compat" in fields else {}
    captioners = models.names("captioner")
    return LoadOptions(
        model_weights().get(name),
        stage_flags.DEVICE.value,
        stage_flags.DOWNLOAD.value,
        compat(),
        label_space(),
        vocabulary(stage_flags.VOCABULARY.value).names,
        made.make(**common) if made else None,
        "f32" if name in captioners else stage_flags.PRECISION.value,
    )


def label_space() -> str | None:
    """Return the text space of mask teachers' labels; None: each one's own.

    By default that of the first dense teacher, as its card says.
    """
    if stage_flags.LABEL_SPACE.value:
        return stage_flags.LABEL_SPACE.value
    for name in stage_flags.TEACHERS.value:
        described = card(name)
        if described and described.kind == "dense" and described.text_space:
            return described.text_space
    return None


def model_weights() -> dict[str, str]:
    """Return the weights of the teachers and the captioner that --weights names.

    Raises:
      InputError: for weights of one not asked for, or of one twice.
    """
    teachers = [*stage_flags.TEACHERS.value, *stage_flags.MASK_VOTES.value]
    known = list(dict.fromkeys([*teachers, stage_flags.CAPTIONER.value]))
    pairs = [item.partition("=") for item in stage_flags.WEIGHTS.value]
    for name, _, path in pairs:
        if name not in known or not path:
            raise InputError(
                "flags: --weights must be <model>=<path> for teachers of --teachers, "
                f"of --mask_votes, and the captioner ({', '.join(known)}), got "
                f"{name}={path}. Correct the flag."
            )
    if len(made := {name: path for name, _, path in pairs}) < len(pairs):
        raise InputError(
            "flags: --weights must name a model once, got "
            f"{','.join(stage_flags.WEIGHTS.value)}. Correct the flag."
        )
    return {name: _at_home(path) for name, path in made.items()}


def _at_home(path: str) -> str:
    """Return a path with the home folder for ~/, as no shell does within a flag."""
    return str(pathlib.Path(path).expanduser()) if path.startswith("~/") else path


def text_encoder(space: TextSpace) -> Callable[[Sequence[str]], TextFeatures]:
    """Return what encodes texts for features of a space, with the tower that it names.

    Raises:
      InputError: when there is no such tower here, or one with other weights.
    """
    tower = registry.of_space(space, "the features")
    return lambda texts: TextFeatures(tower.encode(texts), space)


def check_texts(space: TextSpace, texts: Sequence[str]) -> Mapping[str, Reading]:
    """Check that a space's tower knows what is asked for; raises InputError if not.

    Returns:
      What was read of each text; see `TextTower.check`.
    """
    return registry.of_space(space, "the features").check(texts)


def class_texts(space: TextSpace) -> TextFeatures:
    """Return the text features of the data set's classes, [K, C] (section 3.5)."""
    return encoded(space, tuple(prompts(label_set().classes.names)))


@functools.cache
def encoded(space: TextSpace, texts: tuple[str, ...]) -> TextFeatures:
    """Return the text features of texts, which are encoded once."""
    return text_encoder(space)(texts)


def compat() -> Literal["paper", "official"]:
    """Return which recipe is followed where paper and authors' code differ."""
    return stage_flags.LIFT.make().compat


def score_folder() -> str:
    """Return the name of a folder of scores: the split, and what is not usual."""
    split = plain_name("--eval_split", stage_flags.EVAL_SPLIT.value)
    classes = stage_flags.LABEL_SET.value
    parts = [split, classes, None if compat() == "paper" else compat()]
    return "-".join(part for part in parts if part)


def fused_path(name: str) -> pathlib.Path:
    """Return the file of a scene's fused features.

    Raises:
      InputError: when fusion has not made them.
    """
    path = workspace().fused(fused_name(), name)
    if not path.exists():
        raise InputError(
            f"query: fused features of the scene are required, got none ({path}). Ask "
            f"the student, --source=student, or run: {command('fuse_features')}"
        )
    return path
