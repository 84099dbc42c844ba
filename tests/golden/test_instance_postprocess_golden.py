"""Post-processing against the trainers of Mask3D and OpenMask3D."""

import dataclasses
import json

import numpy as np
import pytest

from sas_jax.instances.clusters import dbscan
from sas_jax.instances.postprocess import (
    PostConfig,
    Rows,
    instances_of_queries,
    mask3d_classes,
)
from sas_jax.instances.submission import in_label_set, submission_ids
from sas_jax.scenes.labels import SCANNET20

CASES = (
    *("a_seg_nodbscan", "b_seg_dbscan095", "c_seg_dbscan005", "d_seg_dbscan_noise"),
    *("f_seg_filter", "g_topk_minus1", "h_om3d_seg_dbscan095", "i_om3d_seg_dbscan005"),
    "k_noseg_filter",
)
# Clusters of a query are equally sure, and the last place is between them: any choice
# is as right.
TIED = ("e_noseg_dbscan", "j_om3d_single_noseg")
SCORES = 1e-6  # mean sigmoids of thousands of voxels, summed in f32 there


@pytest.fixture(scope="module")
def given(small_golden):
    path = small_golden / "instances/mask3d_tiny_outputs.npz"
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def truth(small_golden):
    path = small_golden / "instances/mask3d_tiny_post.npz"
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def settings(truth, case):
    stated = json.loads(str(truth[f"{case}/params"]))
    filtered = stated.get("filt", False)
    config = PostConfig(
        top_k=0 if stated.get("om") or stated["topk"] < 0 else stated["topk"],
        split_radius_m=stated["eps"] if stated["dbscan"] else 0,
        split_min_points=stated["minp"],
        min_score=stated["sthr"] if filtered else 0,
        max_covered=stated["iou"] if filtered else 1,
    )
    return stated, config


def logits(given, stated):
    kind = stated.get("p", "")
    return given[f"{kind}out.pred_logits"][0], given[f"{kind}out.pred_masks.0"]


def made(given, stated, config):
    """Return packed masks, ids of classes as in ScanNet's files, and scores."""
    _, superpoints = np.unique(given["in.0.segments"], return_inverse=True)
    rows = Rows(
        given["in.raw_coords"],
        given["in.0.point2segment"] if stated["seg"] else None,
        given["in.0.inverse_map"],
        superpoints if stated["seg"] else None,
    )
    classes, masks = logits(given, stated)
    found = instances_of_queries(classes, masks, rows, config)
    names = mask3d_classes(SCANNET20, classes.shape[1] - 1)
    found = in_label_set(dataclasses.replace(found, class_names=names), SCANNET20)
    return (
        found.packed,
        np.array(submission_ids(SCANNET20))[found.classes],
        found.scores,
    )


@pytest.mark.parametrize("case", CASES)
def test_trainers(given, truth, case):
    masks, classes, scores = made(given, *settings(truth, case))
    np.testing.assert_array_equal(masks, truth[f"{case}/masks_packed"])
    np.testing.assert_array_equal(classes, truth[f"{case}/classes"])
    np.testing.assert_allclose(scores, truth[f"{case}/scores"], rtol=0, atol=SCORES)


@pytest.mark.parametrize("case", TIED)
def test_equal_up_to_the_choice_between_equals(given, truth, case):
    stated, config = settings(truth, case)
    expected = listed(truth, case)
    *arrays, _ = made(given, stated, config)
    assert len(arrays[0]) == len(expected)
    # With fewer places all pairs are surer than the last ones; with more all fit.
    surer, as_sure = places(given, stated, len(expected), config)
    assert surer < len(expected) < as_sure
    few = made(given, stated, dataclasses.replace(config, top_k=surer))
    assert not without(listed_of(*few), expected)
    many = made(given, stated, dataclasses.replace(config, top_k=as_sure))
    assert not without(expected, listed_of(*many))


def places(given, stated, count, config):
    """Return how many pairs are surer than the last of `count`, and at least as sure.

    Args:
      given: outputs of the network.
      stated: settings of the original.
      count: of the pairs that it kept.
      config: ours.
    """
    classes, masks = logits(given, stated)
    table = np.exp(classes.astype(np.float64))
    table = (table / table.sum(axis=1, keepdims=True))[:, :-1]
    repeats = [
        dbscan(given["in.raw_coords"][inside], config.split_radius_m).max() + 1
        for inside in (masks > 0).T
    ]
    surest = -np.sort(-np.repeat(table, repeats, axis=0), axis=None)
    last = surest[count - 1]
    return int((surest > last).sum()), int((surest >= last).sum())


def listed(truth, case):
    names = ("masks_packed", "classes", "scores")
    return listed_of(*(truth[f"{case}/{name}"] for name in names))


def listed_of(masks, classes, scores):
    return [
        (mask.tobytes(), int(index), float(score))
        for mask, index, score in zip(masks, classes, scores, strict=True)
    ]


def without(some, others):
    """Return those of some that are not among the others, each counted once."""
    left = list(others)
    missing = []
    for mask, index, score in some:
        for other in left:
            if other[:2] == (mask, index) and abs(other[2] - score) <= SCORES:
                left.remove(other)
                break
        else:
            missing.append((index, score))
    return missing


def test_every_case_is_here(truth):
    stated = sorted(key.split("/")[0] for key in truth if key.endswith("/params"))
    assert stated == sorted((*CASES, *TIED))
