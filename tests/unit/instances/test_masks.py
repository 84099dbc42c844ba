import dataclasses

import numpy as np
import pytest

from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import ContractError, InputError
from sas_jax.instances import files, masks, released, submission
from sas_jax.scenes.labels import SCANNET20, label_set

NAMES = ("chair", "lamp", "otherfurniture")


def made(num_points=1003, count=5, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    found = rng.random((count, num_points)) < 0.3
    classes = rng.integers(-1, 3, count)
    return found, masks.of_masks(found, rng.random(count).astype(dtype), classes, NAMES)


@pytest.mark.parametrize("num_points", [1, 7, 8, 9, 1003])
def test_masks_are_what_they_were(num_points):
    found, instances = made(num_points)
    np.testing.assert_array_equal(list(instances.masks()), found)
    np.testing.assert_array_equal(instances.sizes(), found.sum(axis=1))
    order = np.argsort(-instances.scores)
    np.testing.assert_array_equal(list(instances.by_score().masks()), found[order])


def test_instances_of_ids():
    instances = masks.of_ids(np.array([7, -1, 2, 7], np.int32))
    expected = [[False, False, True, False], [True, False, False, True]]
    assert [mask.tolist() for mask in instances.masks()] == expected
    nothing = masks.of_ids(np.full(9, -1))
    assert len(nothing) == 0 and nothing.packed.shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_points": 1020}, "of 1020 points"),
        ({"num_points": 1001}, "no bits beyond 1001"),
        ({"scores": np.full(5, np.nan)}, "finite scores"),
        ({"scores": np.ones(4)}, r"scores \[5\]"),
        ({"classes": np.full(5, 3, np.int32)}, r"-1\.\.2"),
        ({"classes": np.zeros(5)}, "i32 classes"),
    ],
)
def test_arrays_that_do_not_fit(change, words):
    with pytest.raises(ContractError, match=words):
        dataclasses.replace(made()[1], **change)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 5])
def test_file(tmp_path, count, dtype):
    _, instances = made(count=count, dtype=dtype)
    points = np.random.default_rng(1).random((1003, 3)).astype(np.float32)
    path = tmp_path / "new" / "a.npz"
    files.save_instances(path, instances, points=points, key="made of it")
    back = files.load_instances(path, points)
    for field in ("packed", "scores", "classes"):
        written, read = getattr(instances, field), getattr(back, field)
        assert written.dtype == read.dtype
        np.testing.assert_array_equal(written, read)
    assert back.class_names == NAMES and back.num_points == 1003
    assert files.is_current(path, "made of it") and not files.is_current(path, "other")
    with pytest.raises(InputError, match="another geometry"):
        files.load_instances(path, points[::-1])
    with pytest.raises(InputError, match=r"1002 points are required.*a\.npz"):
        files.load_instances(path, points[1:])


def test_file_of_numpy_alone(tmp_path):
    found, _ = made()
    bits = np.packbits(found, axis=1)
    np.savez(tmp_path / "b.npz", masks=bits, num_points=1003, scores=np.ones(5))
    back = files.load_instances(tmp_path / "b.npz")
    np.testing.assert_array_equal(list(back.masks()), found)
    assert (back.classes == -1).all()


def test_broken_files(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"must exist.*a\.npz"):
        files.load_instances(path)
    files.save_instances(path, made()[1], key="k")
    whole = path.read_bytes()
    for data in (b"", b"PK\x03\x04", whole[:-40], whole[:300] + b"xx" + whole[302:]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"instances: .*a\.npz"):
            files.load_instances(path)
        assert not files.is_current(path, "k")
    np.savez(path, masks=np.zeros((1, 1), np.uint8))
    with pytest.raises(InputError, match="no num_points, scores"):
        files.load_instances(path)
    np.savez(path, masks=np.zeros((1, 1)), num_points=3, scores=np.ones(1))
    with pytest.raises(InputError, match=r"bits u8 \[K, 1\].*a\.npz"):
        files.load_instances(path)
    np.savez(path, masks=np.array([{}], object), num_points=3, scores=np.ones(1))
    with pytest.raises(InputError, match="a whole"):
        files.load_instances(path)


def test_submission_comes_back(tmp_path):
    found, instances = made()
    classes = np.array([0, 1, 2, -1, 0], np.int32)
    instances = dataclasses.replace(instances, classes=classes)
    left_out = submission.write_submission(tmp_path, "s", instances, SCANNET20)
    assert left_out == 2  # a lamp, and what has no class
    back = submission.read_submission(tmp_path, "s", 1003, SCANNET20)
    np.testing.assert_array_equal(list(back.masks()), found[[0, 2, 4]])
    np.testing.assert_array_equal(back.scores, instances.scores[[0, 2, 4]])
    names = SCANNET20.classes.names
    assert [names[c] for c in back.classes] == ["chair", "other furniture", "chair"]
    line = (tmp_path / "s.txt").read_text().splitlines()[1]
    assert line.split()[:2] == ["predicted_masks/s_001.txt", "39"]
    written = (tmp_path / "predicted_masks/s_000.txt").read_text()
    assert written == "".join(f"{int(bit)}\n" for bit in found[0])


def test_submission_of_the_longer_list(tmp_path):
    longer = label_set("scannet200")
    instances = masks.of_masks(np.eye(3, dtype=bool), None, [1, 199, 4])
    submission.write_submission(tmp_path, "s", instances, longer)
    lines = (tmp_path / "s.txt").read_text().splitlines()
    assert [int(line.split()[1]) for line in lines] == [2, 1191, 5]
    back = submission.read_submission(tmp_path, "s", 3, longer)
    np.testing.assert_array_equal(back.classes, [1, 199, 4])


@pytest.mark.parametrize("text", ["1\n0\n1", "1\r\n0\r\n1\r\n", "1 0 2", "1.0\n0\n3\n"])
def test_masks_that_others_wrote(tmp_path, text):
    (tmp_path / "m.txt").write_bytes(text.encode())
    (tmp_path / "s.txt").write_text("m.txt 5 0.25\n\nm.txt 77 1e-3\n")
    found = submission.read_submission(tmp_path, "s", 3, SCANNET20)
    assert [mask.tolist() for mask in found.masks()] == [[True, False, True]] * 2
    assert found.classes.tolist() == [4, -1]  # no class has the id 77


@pytest.mark.parametrize(
    ("line", "mask", "words"),
    [
        ("m.txt 5", "1\n0\n", r"<score> is required.*s\.txt, line 1"),
        ("m.txt five 1", "1\n0\n", r"'m\.txt five 1'"),
        ("m.txt 5 nan", "1\n0\n", "<score>"),
        ("../m.txt 5 1", "1\n0\n", "below its folder"),
        ("/etc/passwd 5 1", "1\n0\n", "below its folder"),
        ("n.txt 5 1", "1\n0\n", r"file of a mask.*n\.txt"),
        ("m.txt 5 1", "1\n", r"2 points is required, got 1 of them.*m\.txt"),
        ("m.txt 5 1", "1\nx\n", "got something else"),
    ],
)
def test_submissions_that_are_none(tmp_path, line, mask, words):
    folder = tmp_path / "predictions"
    folder.mkdir()
    (folder / "m.txt").write_text(mask)
    (folder / "s.txt").write_text(line)
    with pytest.raises(InputError, match=words):
        submission.read_submission(folder, "s", 2, SCANNET20)


def test_no_file_and_no_instances(tmp_path):
    with pytest.raises(InputError, match="has an empty file"):
        submission.read_submission(tmp_path, "s", 2, SCANNET20)
    (tmp_path / "s.txt").write_text("")
    assert len(submission.read_submission(tmp_path, "s", 2, SCANNET20)) == 0


def test_masks_of_openmask3d(tmp_path):
    found, _ = made(100)
    path = released.mask_file(tmp_path, "s")
    write_torch(path, found.T.astype(np.float16))
    back = released.read_masks(path, 100)
    np.testing.assert_array_equal(list(back.masks()), found)
    assert back.scores.tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert (back.classes == -1).all()
    with pytest.raises(InputError, match=r"\[99, K\].*\[100, 5\].*s_masks\.pt"):
        released.read_masks(path, 99)
    write_torch(path, {"masks": found.astype(np.float16)})
    with pytest.raises(InputError, match="got dict"):
        released.read_masks(path, 100)
    write_torch(path, np.zeros((100, 0), np.float16))
    assert len(released.read_masks(path, 100)) == 0
