"""Measure how well each teacher knows each class, on synthesized images.

  python experiments/measure_capability.py --flagfile=rooms.flags

Writes <workspace>/capability/<teacher>.json, and the images with all masks under
<workspace>/capability/images. Finished classes are kept, so a killed run goes on
where it stopped.
"""

import dataclasses
import pathlib
import time

import settings
import stage_flags
import torch
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.lock import workspace_lock
from sas_jax.capability import run as stage
from sas_jax.capability import synthesize
from sas_jax.capability.attention import AttentionConfig
from sas_jax.capability.config import Compat, SynthesisConfig
from sas_jax.capability.measure import measured_classes
from sas_jax.capability.prompt_masks import SMALL_MASKS, MaskConfig, PointPrompter
from sas_jax.capability.prompters import GrabCutPrompter, SamPrompter
from sas_jax.capability.store import CapabilityTable
from sas_jax.rooms.painter import quality, small_diffusion
from sas_jax.rooms.painter.small_diffusion import SamplingConfig
from sas_jax.text.vocabulary import Vocabulary, vocabulary

_QUALITY = flags.DEFINE_integer(
    "pseudo_quality_images",
    4,
    "Renders per class on which the small painter's pseudo masks are judged; 0 = none.",
    lower_bound=0,
)


def main() -> None:
    settings.check_teachers()
    # The small painter's images and what the teachers make of them must not depend on
    # --threads, so it counts processes there.
    synthesis = stage_flags.SYNTHESIS.make()
    small = synthesis.synthesizer == "small"
    torch.set_num_threads(1 if small else stage_flags.THREADS.value)
    apart = small and synthesis.point_prompter == "grabcut"
    words = vocabulary(stage_flags.VOCABULARY.value)
    config = stage_flags.CAPABILITY.make()
    folder = settings.workspace().capability
    teachers = stage_flags.TEACHERS.value
    began = time.monotonic()
    with workspace_lock(folder):
        synthesizer, prompter, masks = _models(synthesis, config.compat)
        facts = {
            "config": config,
            "synthesizer": synthesizer.spec,
            "prompter": prompter.spec,
            "masks": masks,
        }
        total = len(measured_classes(words, config.compat))
        with tqdm(total=total, desc="synthesize", unit="class") as bar:
            stage.make_images(
                folder,
                words,
                stage.Painter(synthesizer, prompter, masks),
                config,
                lambda _: bar.update(),
                workers=stage_flags.THREADS.value if apart else 1,
            )
        tables = [_measure(name, folder, words, config, facts) for name in teachers]
        stage.write_sheets(folder, words, teachers, config)
        if isinstance(synthesizer, synthesize.SmallSynthesizer) and _QUALITY.value:
            _judge(folder, synthesizer, prompter, masks, config.compat)
    _print_table(tables, words, time.monotonic() - began)


def _models(
    config: SynthesisConfig, compat: Compat
) -> tuple[synthesize.Synthesizer, PointPrompter, MaskConfig]:
    synthesizer, masks = _synthesizer(config, compat)
    threshold = config.attention_threshold
    if threshold is not None:
        masks = dataclasses.replace(masks, threshold=threshold)
    if config.point_prompter == "grabcut":
        return synthesizer, GrabCutPrompter(), masks
    source = _present(source=config.sam_weights)
    prompter = SamPrompter(**source, device=stage_flags.DEVICE.value)
    return synthesizer, prompter, masks


def _synthesizer(
    config: SynthesisConfig, compat: Compat
) -> tuple[synthesize.Synthesizer, MaskConfig]:
    maps = AttentionConfig(compat)
    chosen = _present(steps=config.diffusion_steps, guidance=config.guidance)
    if config.synthesizer == "small":
        model = small_diffusion.load(
            config.diffusion_weights or small_diffusion.SHIPPED
        )
        sampling = SamplingConfig(**chosen)
        return synthesize.SmallSynthesizer(model, sampling, maps), SMALL_MASKS
    model = synthesize.StableDiffusionConfig(
        **chosen,
        **_present(model=config.diffusion_weights),
        device=stage_flags.DEVICE.value,
    )
    return synthesize.StableDiffusionSynthesizer(model, maps), MaskConfig()


def _present(**values) -> dict:
    return {name: value for name, value in values.items() if value is not None}


def _measure(name, folder, words, config, facts) -> CapabilityTable:
    teacher = settings.load_teacher(name)
    total = len(measured_classes(words, config.compat))
    with tqdm(total=total, desc=name, unit="class") as bar:
        table = stage.measure_teacher(
            folder, words, teacher, config, facts, lambda _: bar.update()
        )
    teacher.close()
    return table


def _judge(
    folder: pathlib.Path,
    synthesizer: synthesize.SmallSynthesizer,
    prompter: PointPrompter,
    masks: MaskConfig,
    compat: Compat,
) -> None:
    config = quality.QualityConfig(images_per_class=_QUALITY.value, compat=compat)
    rooms = stage_flags.ROOM.make()
    with tqdm(total=quality.TICKS, desc="pseudo masks", unit="part") as bar:
        table = quality.judge(
            folder, synthesizer, prompter, masks, rooms, config, lambda: bar.update()
        )
    print("\npseudo masks against the true masks of renders, mean IoU %:")
    for kind, value in table["mean"].items():
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
    images = stage_flags.CAPABILITY.make().images_per_class
    print(f"{images} images per class, {seconds:.0f} s")


if __name__ == "__main__":
    settings.run(main)
