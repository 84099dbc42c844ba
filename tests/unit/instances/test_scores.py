import dataclasses

import numpy as np
import pytest

from sas_jax.instances import masks, scores
from sas_jax.instances.overlaps import instance_classes, overlaps
from sas_jax.scenes.labels import SCANNET20, label_set


def counted(labels_of, classes, predicted):
    """Return counts of a scene with an object of ten points for each class."""
    true = np.repeat(classes, 10)
    ids = np.repeat(np.arange(len(classes)), 10)
    found = np.stack([ids == number for number in range(len(classes))])
    instances = masks.of_masks(found, np.ones(len(classes)), predicted)
    named = overlaps(instances, true, ids, instance_classes(labels_of))
    return named, dataclasses.replace(named, classes=np.full_like(named.classes, -1))


@pytest.fixture
def rows():
    """Scores of two scenes: half of three classes right, a wall, a wrong one."""
    counts = {
        "a": counted(SCANNET20, [2, 4, 0], [2, 5, 0]),
        "b": counted(SCANNET20, [2, 3], [2, -1]),
    }
    unnamed = {name: (alone, alone) for name, (_, alone) in counts.items()}
    return [
        scores.score("some", counts, SCANNET20, min_points=5),
        scores.score("masks alone", unnamed, SCANNET20, min_points=5),
    ]


def test_tables(rows):
    lines = [line.split("  ") for line in scores.overview(rows, SCANNET20).split("\n")]
    lines = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    third = "33.3"
    assert lines[1] == ["some", "1", *[third] * 3, *["100.0"] * 3, "5", "2"]
    assert lines[2] == ["masks alone", "2", *"---", *["100.0"] * 3, "5", "5"]
    table = {
        line.split("  ")[0]: line.split()[-3:]
        for line in scores.classes(rows, SCANNET20).split("\n")
    }
    assert table["cabinet"] == ["2", "100.0", "0.0"]
    assert table["chair"] == ["1", "0.0", "0.0"]
    assert table["sofa"] == ["absent", "-", "-"]
    assert "wall" not in table and len(table) == 19


def test_groups_of_the_longer_list():
    longer = label_set("scannet200")
    index = {group: longer.groups.index(group) for group in ("head", "common", "tail")}
    index["head"] = longer.classes.names.index("chair")
    classes = list(index.values())
    counts = {"a": counted(longer, classes, [classes[0], -1, -1])}
    made = scores.score("x", counts, longer, min_points=5)
    header, line = scores.overview([made], longer).split("\n")
    assert [part for part in header.split("  ") if "AP50" in part.strip()[:4]]
    assert "AP50 head" in header and "AP25 tail" in header
    # of all, of head, common and tail, of the masks
    expected = ["33.3"] * 3 + ["100.0"] * 3 + ["0.0"] * 6 + ["100.0"] * 3
    assert line.split()[2:-2] == expected


def test_file(rows, tmp_path):
    for row in rows:
        scores.save(tmp_path / "a.json", row, "key")
        back = scores.load(tmp_path / "a.json")
        for part in ("named", "masks"):
            written, read = getattr(row, part), getattr(back, part)
            np.testing.assert_array_equal(written.table, read.table)
            assert written.table.dtype == read.table.dtype
            np.testing.assert_array_equal(written.predictions, read.predictions)
            assert written.classes == read.classes
        plain = {"named": None, "masks": None}
        assert dataclasses.replace(row, **plain) == dataclasses.replace(back, **plain)
        assert scores.overview([back], SCANNET20) == scores.overview([row], SCANNET20)
