"""What the second stage begins with: logits of every scene after the first stage."""

import jax
import numpy as np
import tqdm

from sas_jax.distill import step
from sas_jax.distill.batch import batch_coords, count_rows, make_sample
from sas_jax.distill.history import History
from sas_jax.distill.setup import TrainSetup, scaled_text
from sas_jax.sparse.device_plan import place_plan


def first_history(setup: TrainSetup, state: step.TrainState) -> History:
    """Return the history with which the second stage begins.

    The student in evaluation mode, on scenes without augmentation; logits are averaged
    per superpoint. Scenes go in groups as large as a training batch, so that all of
    them share one compiled program.

    Source: authors' code (run/distill_EMA.py); the paper does not say.
    """
    student = setup.config.student
    logits_of = step.make_logits(
        setup.network,
        student.in_channels,
        unit=setup.config.logit_scale is not None,
        impl=student.impl,
    )
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    variables, text = jax.device_put(
        jax.device_get((variables, scaled_text(setup))), setup.own_devices[0]
    )
    group = -(-setup.schedule.largest_batch // len(setup.devices))
    history = History()
    count = len(setup.scenes)
    firsts = range(0, count, group)
    for first in tqdm.tqdm(firsts, desc="history", disable=not setup.run.progress):
        indices = range(first, min(first + group, count))
        scenes = [setup.cache.load(i) for i in indices]
        samples = [make_sample(scene, setup.config, None) for scene in scenes]
        _, bucket = setup.policy.choose([count_rows(samples, student.plan_spec)])
        coords = batch_coords(samples)
        plan, _ = place_plan(coords, bucket.rung, spec=student.plan_spec)
        logits = np.asarray(logits_of(variables, plan, text))
        start_row = 0
        for scene, sample in zip(scenes, samples, strict=True):
            rows = start_row + sample.voxels.inverse
            history.start(scene.name, logits[rows], scene.superpoint)
            start_row += len(sample.voxels.coords)
    return history
