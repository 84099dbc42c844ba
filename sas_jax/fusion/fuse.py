"""One feature per point from several teachers, weighted by what each is good at.

T teachers, K vocabulary classes, C channels; F_t [M_t, C] are the point features of
teacher t, S [T, K] the capabilities, F_text [K, C] the text features.

    pred_t = argmax_K(F_t . F_text^T)                                       Eq. 6
    p_t    = mean over teachers u of S_t[pred_u]                            Eq. 7
    F      = sum_t softmax_t(p_t / tau) F_t                                 Eq. 8

A point that only some teachers have seen is fused among those.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float32, Int

from sas_jax.artefacts.features import Features, rows_of_points
from sas_jax.artefacts.space import TextFeatures, one_space
from sas_jax.errors import InputError
from sas_jax.fusion.confidence import vote_confidence
from sas_jax.fusion.strategies import STRATEGIES, FuseConfig, Strategy, Votes
from sas_jax.stages import command

_USUAL = FuseConfig()
_POINTS_AT_ONCE = 8192


def fuse(
    features: Mapping[str, Features],
    capability: Float[np.ndarray, "T K"] | None,
    texts: TextFeatures | None,
    config: FuseConfig = _USUAL,
    strategy: Strategy | None = None,
) -> Features:
    """Fuse the point features of any number of teachers.

    Args:
      features: teacher -> point features of one scene; the order of the mapping is
        that of the rows of `capability`.
      capability: mIoU of each teacher on each class, 0..1; "capability" needs it.
      texts: text feature of each class; "capability" and "linear" need them.
      config: strategy and temperature.
      strategy: a function of `strategies.Votes` in place of the configured one.

    Returns:
      Features of every point that any teacher has seen, f16, not normalised; `counts`
      is the largest view count among the teachers, and `confidence` says how far they
      agree (see `confidence`), where texts tell what they say.

    Raises:
      InputError: when the teachers' scenes, text spaces or the tables do not fit.

    Deterministic: yes. Memory: blocks of points, whatever their number.
    Source: SAS section 3.3; authors' code feat_fusion/fusion_scannet.py, which sums
      capabilities where Eq. 7 averages, normalises them over the teachers, and treats
      `other` apart (compat="official").
    """
    _check(features, capability, texts, config, own=strategy is not None)
    if config.strategy == "single" and strategy is None:
        return features[config.teacher or next(iter(features))]
    strategy = strategy or STRATEGIES[config.strategy]
    teachers = list(features.values())
    text_rows = None if texts is None else texts.rows.astype(np.float32)
    num_points, dim = teachers[0].num_points, teachers[0].feat.shape[1]
    index = np.unique(np.concatenate([t.point_index for t in teachers]))
    rows = np.stack([t.row[index] for t in teachers])
    feat = np.empty((len(index), dim), np.float16)
    confidence = None if texts is None else np.empty(len(index), np.float32)
    for first in range(0, len(index), _POINTS_AT_ONCE):
        block = slice(first, first + _POINTS_AT_ONCE)
        row = rows[:, block]
        stack = np.stack([_take(t, r) for t, r in zip(teachers, row, strict=True)])
        seen, prediction = row >= 0, None
        if text_rows is not None:
            prediction = np.argmax(stack @ text_rows.T, axis=2)
        votes = Votes(stack, seen, prediction, text_rows, capability, config)
        weights = _weights(votes, strategy)
        feat[block] = np.einsum("tm,tmc->mc", weights, stack)
        if confidence is not None and prediction is not None:
            confidence[block] = vote_confidence(prediction, weights, seen)
    counts = np.zeros(num_points, np.int32)
    for teacher in teachers:
        seen = teacher.point_index
        counts[seen] = np.maximum(counts[seen], teacher.counts)
    return Features(
        feat,
        rows_of_points(index, num_points),
        counts[index],
        teachers[0].space,
        geometry=next((t.geometry for t in teachers if t.geometry is not None), None),
        confidence=confidence,
    )


def _check(
    features: Mapping[str, Features],
    capability: Float[np.ndarray, "T K"] | None,
    texts: TextFeatures | None,
    config: FuseConfig,
    own: bool,
) -> None:
    levels = {f.level for f in features.values()}
    if levels - {"point"}:
        raise InputError(
            "fuse: features of points are required, got those of "
            f"{' and '.join(f'{level}s' for level in sorted(levels))}. Fuse what "
            "teachers see of the points, not a student's answers or superpoints."
        )
    counts = {f.num_points for f in features.values()}
    if len(counts) != 1:
        raise InputError(
            "fuse: features of one scene's points are required, got numbers of points "
            f"{sorted(counts)}. Lift one scene for each teacher."
        )
    if len({f.geometry for f in features.values()} - {None}) > 1:
        raise InputError(
            "fuse: features of the same points are required, got those of several "
            f"geometries from {', '.join(features)}. The scene has changed between "
            f"them: run {command('extract_features')} for it."
        )
    if config.teacher is not None and config.teacher not in features:
        raise InputError(
            f"fuse: teacher must be one of {', '.join(features)}; got "
            f"{config.teacher!r}. Check the name."
        )
    spaces = {f"the features of {name}": f.space for name, f in features.items()}
    weighs = capability is not None if own else config.strategy == "capability"
    compares = texts is not None if own else config.strategy in ("capability", "linear")
    if own or config.strategy != "single":
        space = one_space("fuse", spaces)
    if weighs or compares:
        rows = None if texts is None else texts.rows
        _check_table("text features", rows, (None, space.dim))
        assert texts is not None  # without them there is no table
        one_space("fuse", {**spaces, "the texts": texts.space})
    if weighs:
        assert texts is not None  # checked above
        _check_table("capability", capability, (len(features), len(texts.rows)))


def _check_table(
    name: str, table: Float[np.ndarray, "..."] | None, shape: tuple[int | None, int]
) -> None:
    if (
        table is None
        or table.ndim != 2
        or len(table) == 0
        or any(n not in (None, m) for n, m in zip(shape, table.shape, strict=True))
        or not np.isfinite(table).all()
    ):
        got = "none" if table is None else f"{list(table.shape)}"
        rows = "K" if shape[0] is None else shape[0]
        raise InputError(
            f"fuse: {name} [{rows}, {shape[1]}] of finite values is required, got "
            f"{got}. Measure and encode with the vocabulary of this run."
        )


def _take(features: Features, row: Int[np.ndarray, " M"]) -> Float32[np.ndarray, "M C"]:
    """Return features by row, zeros for row -1."""
    taken = np.zeros((len(row), features.feat.shape[1]), np.float32)
    taken[row >= 0] = features.feat[row[row >= 0]]
    return taken


def _weights(votes: Votes, strategy: Strategy) -> Float32[np.ndarray, "T M"]:
    """Return each teacher's weight per point: 0 where unseen, 1 in sum."""
    weights = np.asarray(strategy(votes))
    if weights.shape != votes.seen.shape:
        raise InputError(
            f"fuse: a strategy must return weights {list(votes.seen.shape)}, one for "
            f"each teacher and point, got {list(weights.shape)}. Mend the function."
        )
    weights = weights * votes.seen
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError(
            "fuse: a strategy must return finite weights >= 0, got others. Mend the "
            "function."
        )
    # Where nobody counts there is nothing to prefer one by.
    weights = np.where(weights.sum(axis=0) > 0, weights, votes.seen)
    return (weights / weights.sum(axis=0)).astype(np.float32)
