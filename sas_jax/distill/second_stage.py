"""What the second stage begins with: logits of every scene after the first stage."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
import tqdm
from jaxtyping import Float32

from sas_jax.distill import processes, step
from sas_jax.distill.batch import Sample, batch_coords, count_rows, make_sample
from sas_jax.distill.history import History
from sas_jax.distill.setup import TrainSetup, scaled_text
from sas_jax.sparse.device_plan import place_plan


def first_history(setup: TrainSetup, state: step.TrainState) -> History:
    """Return the history with which the second stage begins.

    The student in evaluation mode, on scenes without augmentation; logits are averaged
    per superpoint. Scenes go in groups as large as a training batch, so that all of
    them share one compiled program. Several processes take turns and tell each other.

    Source: authors' code (run/distill_EMA.py); the paper does not say.
    """
    logits_of = _logits_of(setup, state)
    group = -(-setup.schedule.largest_batch // len(setup.devices))
    own, count = History(), len(setup.scenes)
    firsts = range(0, count, group)
    shown = setup.run.progress and processes.is_primary()
    for turn, first in enumerate(tqdm.tqdm(firsts, desc="history", disable=not shown)):
        if turn % jax.process_count() != jax.process_index():
            continue
        scenes = [setup.cache.load(i) for i in range(first, min(first + group, count))]
        samples = [make_sample(scene, setup.config, None) for scene in scenes]
        logits, start_row = logits_of(samples), 0
        for scene, sample in zip(scenes, samples, strict=True):
            rows = start_row + sample.voxels.inverse
            own.start(scene.name, logits[rows], scene.superpoint)
            start_row += len(sample.voxels.coords)
    return _of_all(own, [setup.cache.name(i) for i in range(count)], group)


def _logits_of(
    setup: TrainSetup, state: step.TrainState
) -> Callable[[Sequence[Sample]], Float32[np.ndarray, "N K"]]:
    """Return what gives the logits of all voxels of some scenes."""
    student = setup.config.student
    logits = step.make_logits(
        setup.network,
        student.in_channels,
        unit=setup.config.logit_scale is not None,
        impl=student.impl,
    )
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    variables, text = jax.device_put(
        jax.device_get((variables, scaled_text(setup))), setup.own_devices[0]
    )

    def of(samples: Sequence[Sample]) -> Float32[np.ndarray, "N K"]:
        _, bucket = setup.policy.choose([count_rows(samples, student.plan_spec)])
        plan, _ = place_plan(batch_coords(samples), bucket.rung, spec=student.plan_spec)
        return np.asarray(logits(variables, plan, text))

    return of


def _of_all(own: History, names: Sequence[str], group: int) -> History:
    """Return the history of all scenes, of which each process has its turns'."""
    found, count = own.arrays(), jax.process_count()
    if count == 1:
        return own
    for index, name in enumerate(names):
        source = index // group % count
        rows = found.get(name, np.zeros((0, 0), np.float32))
        shape = processes.of_process(source, np.array(rows.shape, np.int64))
        if name not in found:
            rows = np.zeros(shape, np.float32)
        found[name] = processes.of_process(source, rows)
    return History({name: found[name] for name in names})
