"""Measure how well each teacher knows each class, on synthesized images.

  python experiments/measure_capability.py --flagfile=rooms.flags

Writes <workspace>/capability/<teacher>.json, and the images with all masks under
<workspace>/capability/images. Finished classes are kept, so a killed run goes on
where it stopped.
"""

import pathlib
import time

import settings
import stage_flags
import torch
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.lock import workspace_lock
from sas_jax.capability import registry
from sas_jax.capability import run as stage
from sas_jax.capability.contracts import JudgeOptions, Recipe, SynthesizerOptions
from sas_jax.capability.measure import CapabilityConfig, measured_classes
from sas_jax.capability.store import CapabilityTable
from sas_jax.registry import LoadOptions, said
from sas_jax.text.vocabulary import Vocabulary, vocabulary

_QUALITY = flags.DEFINE_integer(
    "pseudo_quality_images",
    4,
    "Images per class on which pseudo masks are judged, where the synthesizer has a "
    "judge; 0 = none.",
    lower_bound=0,
)


def main() -> None:
    settings.check_teachers()
    registry.check(stage_flags.SYNTHESIZER.value, stage_flags.POINT_PROMPTER.value)
    words = vocabulary(stage_flags.VOCABULARY.value)
    config = CapabilityConfig(
        images_per_class=stage_flags.IMAGES_PER_CLASS.value,
        seed=stage_flags.CAPABILITY_SEED.value,
        compat=stage_flags.COMPAT.value,
        teacher_px=stage_flags.TEACHER_PX.value,
    )
    folder = settings.workspace() / "capability"
    teachers = stage_flags.TEACHERS.value
    began = time.monotonic()
    with workspace_lock(folder):
        recipe = _recipe()
        # What is painted on one thread, and what the teachers make of it, must not
        # depend on --threads, which counts processes then.
        threads = 1 if recipe.synthesizer.one_thread else stage_flags.THREADS.value
        torch.set_num_threads(threads)
        facts = {
            "config": config,
            "synthesizer": recipe.synthesizer.spec,
            "prompter": recipe.prompter.spec,
            "masks": recipe.masks,
        }
        total = len(measured_classes(words, config.compat))
        with tqdm(total=total, desc="synthesize", unit="class") as bar:
            stage.make_images(
                folder,
                words,
                recipe,
                config,
                lambda _: bar.update(),
                workers=stage_flags.THREADS.value,
            )
        tables = [_measure(name, folder, words, config, facts) for name in teachers]
        stage.write_sheets(folder, words, teachers, config)
        _judge(folder, recipe)
    _print_table(tables, words, time.monotonic() - began)


def _recipe() -> Recipe:
    options = SynthesizerOptions(
        weights=stage_flags.DIFFUSION_WEIGHTS.value,
        device=stage_flags.DEVICE.value,
        compat=stage_flags.COMPAT.value,
        steps=stage_flags.DIFFUSION_STEPS.value,
        guidance=stage_flags.GUIDANCE.value,
    )
    synthesizer = registry.load_synthesizer(stage_flags.SYNTHESIZER.value, options)
    prompter = registry.load_prompter(
        stage_flags.POINT_PROMPTER.value,
        LoadOptions(stage_flags.SAM_WEIGHTS.value, stage_flags.DEVICE.value),
    )
    threshold = stage_flags.ATTENTION_THRESHOLD.value
    return Recipe(synthesizer, prompter, said(synthesizer.masks, threshold=threshold))


def _measure(name, folder, words, config, facts) -> CapabilityTable:
    teacher = settings.load_teacher(name)
    total = len(measured_classes(words, config.compat))
    with tqdm(total=total, desc=name, unit="class") as bar:
        table = stage.measure_teacher(
            folder, words, teacher, config, facts, lambda _: bar.update()
        )
    teacher.close()
    return table


def _judge(folder: pathlib.Path, recipe: Recipe) -> None:
    """Let the synthesizer's judge, if it has one, tell how good pseudo masks are."""
    name = recipe.synthesizer.judge
    if name is None or not _QUALITY.value:
        return
    options = JudgeOptions(
        _QUALITY.value, stage_flags.COMPAT.value, stage_flags.DESIGNS.value
    )
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
    print(f"{stage_flags.IMAGES_PER_CLASS.value} images per class, {seconds:.0f} s")


if __name__ == "__main__":
    settings.run(main)
