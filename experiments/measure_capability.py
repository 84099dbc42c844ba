"""Measure how well each teacher knows each class, on synthesized images.

  python experiments/measure_capability.py --flagfile=rooms.flags

Writes <workspace>/capability/<teacher>.json, and the images with all masks under
<workspace>/capability/images. Finished classes are kept, so a killed run goes on
where it stopped. With --shipped=take the tables that come with the teachers are copied
instead, where they are of these models and settings and nothing was painted yet.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable

import capability_tables
import scene_workers
import settings
import stage_flags
import torch
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.dispatch import Answer, Task
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.artefacts.stage import claimed
from sas_jax.artefacts.versions import decided_by, module_of
from sas_jax.capability import registry, shipped, store
from sas_jax.capability import run as stage
from sas_jax.capability.config import CapabilityConfig, SynthesisConfig
from sas_jax.capability.contracts import JudgeOptions, Recipe, SynthesizerOptions
from sas_jax.capability.measure import measured_classes
from sas_jax.capability.store import CapabilityTable
from sas_jax.classes import Vocabulary, vocabulary
from sas_jax.registry import Compat, LoadOptions, said
from sas_jax.teachers.registry import shipped_capability

_QUALITY = flags.DEFINE_integer(
    "pseudo_quality_images",
    4,
    "Images per class on which pseudo masks are judged, where the synthesizer has a "
    "judge; 0 = none.",
    lower_bound=0,
)
_SHIPPED = flags.DEFINE_enum(
    "shipped",
    "no",
    ["no", "take", "write"],
    "Take the tables that come with the teachers, or write them (for who changes these "
    "teachers).",
)


def main() -> None:
    """Synthesize images, measure every teacher on them and print the table."""
    if capability_tables.elsewhere():
        for name in stage_flags.TEACHERS.value:
            capability_tables.read(name)
            print(f"{name}: measured elsewhere, {capability_tables.path_of(name)}")
        return
    settings.check_teachers()
    models = stage_flags.SYNTHESIS.make()
    registry.check(models.synthesizer, models.point_prompter)
    words = vocabulary(stage_flags.VOCABULARY.value)
    config = stage_flags.CAPABILITY.make()
    folder = settings.workspace().capability
    teachers = stage_flags.TEACHERS.value
    began = time.monotonic()
    with workspace_lock(folder):
        recipe = _recipe(models, config.compat)
        _set_threads(recipe, stage_flags.THREADS.value)
        own = stage_flags.CAPABILITY_SCORE.value == "own"  # as those that are shipped
        if (
            _SHIPPED.value == "take"
            and own
            and (taken := _taken(words, recipe, config))
        ):
            _print_table(taken, words, time.monotonic() - began)
            return
        _share(words, recipe, config)
        facts = {
            "config": config,
            "synthesizer": recipe.synthesizer.spec,
            "prompter": recipe.prompter.spec,
            "masks": recipe.masks,
        }
        total = len(measured_classes(words, config.compat)) * config.images_per_class
        with tqdm(total=total, desc="synthesize", unit="image") as bar:
            stage.make_images(folder, words, recipe, config, lambda _: bar.update())
        tables = [_measure(name, folder, words, config, facts) for name in teachers]
        stage.write_sheets(folder, words, teachers, config)
        _judge(folder, recipe, config.compat)
        if _SHIPPED.value == "write" and own:
            for table in tables:
                _ship(table, words, recipe, config)
    _print_table(tables, words, time.monotonic() - began)


def _set_threads(recipe: Recipe, threads: int) -> None:
    """Set PyTorch's threads: one, where --threads count processes of one thread.

    What is painted, and what the teachers make of it, must not depend on them then.
    """
    torch.set_num_threads(1 if recipe.synthesizer.one_thread else threads)


def _share(words: Vocabulary, recipe: Recipe, config: CapabilityConfig) -> None:
    """Let workers paint classes and teachers look at them, where there are any.

    What they leave is found by what goes on here.
    """
    crew, folder = scene_workers.crew(), settings.workspace().capability
    names = measured_classes(words, config.compat)
    if crew.workers == 1 and crew.ray is None:
        if not recipe.one_thread:
            return
        crew = dataclasses.replace(crew, workers=stage_flags.THREADS.value)
        names = stage.unpainted(folder, words, recipe, config)
        if min(crew.workers, len(names)) < 2:
            return
    tasks = [Task(name, name) for name in names]
    with tqdm(total=len(tasks), desc="classes", unit="class") as bar:
        for _ in scene_workers.answers("measure_capability", tasks, bar, crew):
            pass


def worker(threads: int) -> Callable[[str], Answer]:
    """Load all models, and return what paints a class and lets each teacher look."""
    words = vocabulary(stage_flags.VOCABULARY.value)
    config, folder = stage_flags.CAPABILITY.make(), settings.workspace().capability
    recipe = _recipe(stage_flags.SYNTHESIS.make(), config.compat)
    _set_threads(recipe, threads)
    teachers = [settings.load_model(name) for name in stage_flags.TEACHERS.value]

    def work(name: str) -> Answer:
        # The folder is the driver's; of one that was killed, a worker may be left.
        with claimed(store.images_path(folder, name)) as own:
            if own:
                stage.make_images(folder, words, recipe, config, only=[name])
                for teacher in teachers:
                    stage.look_at(folder, words, teacher, config, name)
        return Answer(None, busy=not own)

    return work


def _recipe(models: SynthesisConfig, compat: Compat) -> Recipe:
    options = SynthesizerOptions(
        weights=models.diffusion_weights,
        device=stage_flags.DEVICE.value,
        compat=compat,
        steps=models.diffusion_steps,
        guidance=models.guidance,
        image_px=models.diffusion_px,
        scheduler=models.diffusion_scheduler,
        download=stage_flags.DOWNLOAD.value,
    )
    synthesizer = registry.load_synthesizer(models.synthesizer, options)
    options = LoadOptions(
        models.sam_weights, stage_flags.DEVICE.value, stage_flags.DOWNLOAD.value
    )
    prompter = registry.load_prompter(models.point_prompter, options)
    masks = said(synthesizer.masks, threshold=models.attention_threshold)
    return Recipe(synthesizer, prompter, masks)


def _measure(name, folder, words, config, facts) -> CapabilityTable:
    teacher = settings.load_model(name)
    total = len(measured_classes(words, config.compat))
    with tqdm(total=total, desc=name, unit="class") as bar:
        table = stage.measure_teacher(
            *(folder, words, teacher, config, facts),
            lambda _: bar.update(),
            score=stage_flags.CAPABILITY_SCORE.value,
        )
    teacher.close()
    return table


def _taken(
    words: Vocabulary, recipe: Recipe, config: CapabilityConfig
) -> list[CapabilityTable] | None:
    teachers = [settings.load_model(name) for name in stage_flags.TEACHERS.value]
    folder = settings.workspace().capability
    found = shipped.take(folder, teachers, words, recipe, config)
    for teacher in teachers:
        teacher.close()
    return found


def _ship(
    table: CapabilityTable, words: Vocabulary, recipe: Recipe, config: CapabilityConfig
) -> None:
    path = shipped_capability(table.teacher)
    if path is None:
        return
    teacher = settings.load_model(table.teacher)
    key = shipped.table_key(teacher, words, recipe, config)
    models = map(module_of, (teacher, recipe.synthesizer, recipe.prompter))
    libraries = decided_by(stage.__name__, *models)["libraries"]
    print(shipped.write(path.parent, table, key, libraries))


def _judge(folder: pathlib.Path, recipe: Recipe, compat: Compat) -> None:
    """Let the synthesizer's judge, if it has one, tell how good pseudo masks are."""
    name = recipe.synthesizer.judge
    if name is None or not _QUALITY.value:
        return
    options = JudgeOptions(_QUALITY.value, compat, stage_flags.ROOM.name("designs"))
    judge = registry.load_judge(name, options)
    with tqdm(total=judge.ticks, desc="pseudo masks", unit="part") as bar:
        means = judge.judge(folder, recipe, lambda: bar.update())
    print("\npseudo masks against the true masks of renders, mean IoU %:")
    for kind, value in means.items():
        if value is not None:
            print(f"{kind.removesuffix('_iou'):<18}{100 * value:>16.1f}")


def _print_table(
    tables: list[CapabilityTable], words: Vocabulary, seconds: float
) -> None:
    print(f"\n{'class':<18}" + "".join(f"{table.teacher:>16}" for table in tables))
    for index, name in enumerate(words.names):
        cells = (
            f"{100 * table.miou[index]:>16.1f}"
            if table.measured[index]
            else f"{'-':>16}"
            for table in tables
        )
        print(f"{name:<18}" + "".join(cells))
    means = (100 * table.miou[table.measured].mean() for table in tables)
    print(f"{'mean IoU %':<18}" + "".join(f"{mean:>16.1f}" for mean in means))
    print(f"{tables[0].images_per_class} images per class, {seconds:.0f} s")


if __name__ == "__main__":
    settings.run(main)
