"""A student's file gives back the student, or says what is wrong with it."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from fresh_student import init_student
from text_spaces import space

from sas_jax.errors import DamagedFile, InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.student import Predictor, Student
from sas_jax.models.student_card import read_card
from sas_jax.models.student_file import read_student, write_student

NAMES = ("wall", "floor", "chair", "table")
STEM = "params/conv0p1s1/kernel"


def random_student(seed=0, dim=16):
    """A student as if trained: no array is what a new one has."""
    config = StudentConfig("MinkUNet14S", out_dim=dim)
    rng = np.random.default_rng(seed)

    def moved(array):
        noise = rng.uniform(0.5, 1.5, array.shape)
        return (array * noise + 0.01 * noise).astype(np.float32)

    texts = rng.normal(size=(len(NAMES), dim)).astype(np.float32)
    return Student(
        config=config,
        variables=jax.tree.map(moved, init_student(config, seed)),
        voxel_size_m=0.1,
        text_features=texts,
        text_space=space(dim),
        class_names=NAMES,
        step=123,
    )


@pytest.fixture(scope="module")
def student():
    return random_student()


@pytest.fixture
def path(student, tmp_path):
    path = tmp_path / "student.safetensors"
    write_student(path, student, data="two rooms", scores={"test mIoU": 71.25})
    return path


def rewrite(path, change):
    """Write a file again with arrays and header changed."""
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["sas_jax"])
    change(arrays, header)
    data = safetensors.numpy.save(arrays, {"sas_jax": json.dumps(header)})
    path.write_bytes(data)


def leaves(student):
    flat, _ = jax.tree_util.tree_flatten_with_path(student.variables)
    return {jax.tree_util.keystr(name): leaf for name, leaf in flat}


def test_a_student_comes_back_within_half_an_ulp_of_f16(student, path):
    again = read_student(path)
    for field in ("config", "voxel_size_m", "text_space", "class_names", "step"):
        assert getattr(again, field) == getattr(student, field), field
    np.testing.assert_array_equal(again.text_features, student.text_features)
    before, after = leaves(student), leaves(again)
    assert list(before) == list(after)
    for name, wanted in before.items():
        got = after[name]
        assert got.dtype == np.float32 and got.shape == wanted.shape
        if wanted.ndim == 1:  # statistics, scales and biases
            assert got.tobytes() == wanted.tobytes(), name
            continue
        ulp = np.spacing(np.abs(wanted).astype(np.float16)).astype(np.float64)
        error = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
        assert (error <= ulp / 2).all(), name
        assert error.any(), name
    kernels = sum(leaf.size for leaf in before.values() if leaf.ndim > 1)
    rest = sum(leaf.size for leaf in before.values() if leaf.ndim == 1)
    assert path.stat().st_size < 2 * kernels + 4 * rest + 40_000


def test_what_was_read_is_written_as_the_same_bytes(path, tmp_path):
    other = tmp_path / "other.safetensors"
    write_student(
        other, read_student(path), data="two rooms", scores={"test mIoU": 71.25}
    )
    assert other.read_bytes() == path.read_bytes()


def test_half_precision_hardly_moves_what_a_student_says(student, path):
    """Features move by less than 1 %, classes only where two are that near."""
    points = np.random.default_rng(1).uniform(0, 2, (3000, 3)).astype(np.float32)
    before, after = (
        np.asarray(Predictor(s).features(points).feat, np.float64)
        for s in (student, read_student(path))
    )
    moved = np.linalg.norm(after - before, axis=1)
    assert (moved < 0.01 * np.linalg.norm(before, axis=1)).all() and moved.any()
    texts = student.text_features.astype(np.float64)
    first, second = before @ texts.T, after @ texts.T
    other = first.argmax(1) != second.argmax(1)
    assert other.mean() <= 0.01
    best = np.sort(first[other], axis=1)
    reach = 2 * moved[other] * np.linalg.norm(texts, axis=1).max()
    assert (best[:, -1] - best[:, -2] <= reach).all()


def test_the_card_is_read_without_the_weights(student, path):
    card = read_card(path)
    assert (card.arch, card.in_channels, card.out_dim) == ("MinkUNet14S", 3, 16)
    assert card.text_space == student.text_space and card.class_names == NAMES
    assert (card.steps, card.data) == (123, "two rooms")
    assert card.scores == {"test mIoU": 71.25}
    assert "MinkUNet14S" in card.table() and "71.2" in card.table()


def missing(arrays, header):
    del arrays[STEM]


def unexpected(arrays, header):
    arrays["params/conv9/kernel"] = np.zeros(2, np.float16)


def reshaped(arrays, header):
    arrays[STEM] = arrays[STEM][:27].copy()


def changed(arrays, header):
    arrays[STEM][0, 0, 0] += 1


def doubled(arrays, header):
    arrays[STEM] = arrays[STEM].astype(np.float64)


def without_texts(arrays, header):
    del arrays["text_features"]


def other_schema(arrays, header):
    header["schema"] = "sas_jax.student/9"


def other_network(arrays, header):
    header["card"]["arch"] = "MinkUNet99"


def no_steps(arrays, header):
    header["card"]["steps"] = "many"


def no_space(arrays, header):
    del header["card"]["text_space"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (missing, rf"missing: {STEM} \[125, 3, 32\]"),
        (unexpected, r"unexpected: params/conv9/kernel \[2\]"),
        (reshaped, rf"other shape: {STEM} \[27, 3, 32\] instead of \[125, 3, 32\]"),
        (changed, "checksum"),
        (doubled, f"got F64 of {STEM}"),
        (without_texts, r"missing: text_features \[4, 16\]"),
        (other_schema, "sas_jax.student/9"),
        (other_network, "MinkUNet99"),
        (no_steps, "steps .*'many'"),
        (no_space, "text space"),
    ],
)
def test_a_file_that_is_not_right_is_named_with_its_fault(path, change, message):
    rewrite(path, change)
    with pytest.raises(InputError, match=message) as caught:
        read_student(path)
    assert str(path) in str(caught.value)


def test_a_file_cut_short_absent_or_of_something_else(path, tmp_path):
    whole = path.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        for read in (read_student, read_card):
            with pytest.raises(DamagedFile, match=r"complete.*student\.safetensors"):
                read(path)
    for wrong in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(DamagedFile, match="complete safetensors file"):
            read_student(wrong)
    path.write_bytes(safetensors.numpy.save({"feat": np.zeros(3, np.float32)}))
    with pytest.raises(InputError, match="with the card of a student"):
        read_student(path)


def test_only_what_can_be_read_again_is_written(student, tmp_path):
    path = tmp_path / "s.safetensors"

    def with_stem(value):
        variables = jax.tree.map(np.copy, student.variables)
        variables["params"]["conv0p1s1"]["kernel"][0, 0, 0] = value
        return dataclasses.replace(student, variables=variables)

    for value in (7e4, np.nan, np.inf):
        with pytest.raises(InputError, match=STEM):
            write_student(path, with_stem(value))
    other = StudentConfig("MinkUNet14A", out_dim=16)
    with pytest.raises(InputError, match="other shape"):
        write_student(path, dataclasses.replace(student, config=other))
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        write_student(tmp_path / "s.npz", student)
    assert list(tmp_path.iterdir()) == []
