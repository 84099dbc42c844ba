"""Average precision against ScanNet's evaluation of instances, bit by bit."""

import numpy as np
import pytest

from sas_jax.evaluation.protocol import groups_of
from sas_jax.instances.ap import average_precision, group_means
from sas_jax.instances.masks import Instances
from sas_jax.instances.overlaps import instance_classes, overlaps
from sas_jax.instances.submission import submission_ids, truth_of
from sas_jax.scenes.labels import label_set

CASES = (
    *("01_perfect", "02_shifted", "03_duplicates", "04_overlap_merge_split"),
    *("05_small_regions", "06_void_ignored", "07_absent_classes", "08_score_ties"),
    *("09a_one_scene_empty", "09b_all_empty", "09c_no_gt", "10_iou_on_threshold"),
    *("11_all_pred_ignored", "12_random20", "13_random20_ties", "14_random200"),
    "15_openmask3d_ones200",
)
LABEL_SETS = {"scannet": "scannet20", "scannet200": "scannet200"}


@pytest.fixture(scope="module")
def truth(small_golden):
    with np.load(small_golden / "instances/ap_cases.npz", allow_pickle=False) as data:
        return dict(data)


def scored(truth, case, compat):
    """Return the label set of a case and our scores of it."""
    labels = label_set(LABEL_SETS[str(truth[f"{case}/dataset"])])
    index = {number: i for i, number in enumerate(submission_ids(labels))}
    counts = []
    for scene in range(int(truth[f"{case}/num_scenes"])):

        def of(name, where=f"{case}/s{scene}."):
            return truth[where + name]

        classes = [index.get(number, -1) for number in of("classes").tolist()]
        found = Instances(
            of("masks_packed"), int(of("n")), of("scores"), np.array(classes, np.int32)
        )
        true = truth_of(of("gt_ids"), labels)
        classes = instance_classes(labels)
        counts.append(overlaps(found, *true, classes, compat=compat))
    return labels, average_precision(counts, instance_classes(labels), compat=compat)


@pytest.mark.parametrize("case", CASES)
def test_official(truth, case):
    labels, found = scored(truth, case, "official")
    ids = np.array(submission_ids(labels))[list(found.classes)]
    np.testing.assert_array_equal(ids, truth[f"class_ids/{truth[f'{case}/dataset']}"])
    np.testing.assert_array_equal(found.table, truth[f"{case}/ap"])
    np.testing.assert_array_equal(found.per_class(), truth[f"{case}/class_ap"])
    np.testing.assert_array_equal(found.mean(), truth[f"{case}/mean"])
    if labels.groups:
        means = group_means(found, groups_of(labels))
        for group in ("head", "common", "tail"):
            parts = [f"{case}/openmask3d_{group}_{ap}" for ap in ("ap", "ap50", "ap25")]
            np.testing.assert_array_equal(means[group], [truth[part] for part in parts])


@pytest.mark.parametrize("case", CASES)
def test_definitions_differ_only_where_several_match_one(truth, case):
    _, found = scored(truth, case, "paper")
    differs = case == "15_openmask3d_ones200"
    same = np.array_equal(found.table, truth[f"{case}/ap"], equal_nan=True)
    assert same != differs


def test_every_case_is_here(truth):
    assert sorted(CASES) == sorted(k[: -len("/ap")] for k in truth if k.endswith("/ap"))
