"""OpenSeg's adapter: the crop, the resize, and a SavedModel of the same signature."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import openseg_saved_model

from sas_jax.errors import ContractError, InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry
from sas_jax.teachers.openseg import teacher, worker


def _image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def untrained():
    model = registry.load("openseg", LoadOptions("random:0"))
    yield model
    model.close()


def _aligned(grid, height, width):
    """Source index of every pixel, one by one: corners on corners, halves upwards."""
    out = np.zeros((height, width, grid.shape[2]), grid.dtype)
    for i in range(height):
        for j in range(width):
            y = i * (grid.shape[0] - 1) / (height - 1) if height > 1 else 0
            x = j * (grid.shape[1] - 1) / (width - 1) if width > 1 else 0
            out[i, j] = grid[int(y + 0.5), int(x + 0.5)]
    return out


@pytest.mark.parametrize(
    ("have", "want"), [((5, 7), (11, 20)), ((9, 8), (4, 3)), ((3, 3), (1, 1))]
)
def test_resize_as_a_literal_loop(have, want):
    grid = np.arange(np.prod(have), dtype=np.float16).reshape(*have, 1)
    rows, columns = (
        teacher.nearest_aligned(a, b) for a, b in zip(have, want, strict=True)
    )
    assert np.array_equal(grid[rows[:, None], columns], _aligned(grid, *want))


def test_halves_go_away_from_zero_and_products_are_rounded_to_f32():
    assert teacher.nearest_aligned(2, 3).tolist() == [0, 1, 1]
    # 35 * f32(41 / 70) is 20.500002 in f64, and 20.5 or its neighbour in f32.
    step = np.float32(41) / np.float32(70)
    wanted = [int(np.float64(np.float32(i) * step) + 0.5) for i in range(71)]
    assert teacher.nearest_aligned(42, 71).tolist() == wanted


def test_crop_truncates_the_product_in_f32():
    grid = np.arange(6 * 8, dtype=np.float32).reshape(1, 6, 8, 1)
    info = np.array([[100, 150], [8, 8], [0.0399, 0.05], [0, 0]], np.float32)
    kept = worker.crop(info, grid)
    assert kept.shape == (3, 7, 1)  # 3.99, and 7.5
    for i in range(3):
        for j in range(7):
            assert kept[i, j, 0] == 8 * i + j


@pytest.mark.parametrize("scale", [0.001, 2.0, float("nan")])
def test_a_crop_outside_of_the_grid_is_refused(scale):
    info = np.array([[10, 10], [8, 8], [scale, scale], [0, 0]], np.float32)
    with pytest.raises(ValueError, match=r"image_info|NaN"):
        worker.crop(info, np.zeros((1, 8, 8, 1), np.float32))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"ppixel_ave_feat": np.zeros((1, 4, 4, 512))}, r"768\], got \[1, 4, 4, 512\]"),
        ({"ppixel_ave_feat": np.zeros((4, 4, 768))}, "ppixel_ave_feat must be"),
        ({"ppixel_ave_feat": np.zeros((1, 4, 4, 768)), "image_info": 0}, r"\[4, 2\]"),
    ],
)
def test_outputs_of_other_shapes_are_refused(outputs, message):
    with pytest.raises(ValueError, match=message):
        worker.answer(lambda image: outputs, b"")


@pytest.mark.parametrize("size", [(1, 1), (7, 501), (240, 320), (65, 33)])
def test_any_size_gives_a_feature_per_pixel(untrained, size):
    (features,) = untrained.features([_image(*size)])
    assert features.shape == (*size, 768) and features.dtype == np.float16
    assert np.isfinite(features).all()


def test_large_images_stay_on_the_grid(untrained):
    (features,) = untrained.features([np.zeros((600, 1200, 3), np.uint8)])
    assert features.shape == (32, 64, 768)


def test_features_follow_the_image_the_order_and_the_seed(untrained):
    images = [_image(20, 30), _image(40, 20, seed=1)]
    a, b = untrained.features(images)
    (alone,) = untrained.features(images[1:])
    assert np.array_equal(b, alone) and a.shape[:2] == (20, 30)
    other = registry.load("openseg", LoadOptions("random:1"))
    try:
        assert not np.array_equal(other.features(images[:1])[0], a)
        assert other.spec.weights_id == "random:1"
    finally:
        other.close()


def test_what_is_no_image_is_refused(untrained):
    with pytest.raises(ContractError, match="uint8"):
        untrained.features([np.zeros((4, 4, 3), np.float32)])


def test_texts_live_in_the_space_of_the_features(untrained):
    rows = untrained.encode_text(["a chair", "a table"])
    assert rows.shape == (2, 768) == (2, untrained.spec.feat_dim)
    assert untrained.spec.text_space.name == "clip-vit-l14-336"


def test_the_worker_sees_one_gpu_or_none():
    def seen(device, **own):
        return teacher._environment(own, device, foreign=False)["CUDA_VISIBLE_DEVICES"]

    assert seen("cpu", CUDA_VISIBLE_DEVICES="3") == "-1"
    assert seen("cuda:1") == "1" and seen("cuda") == "0"
    assert seen("cuda:1", CUDA_VISIBLE_DEVICES="4,6") == "6"


def test_another_interpreter_gets_no_paths_of_ours():
    own = {"PYTHONPATH": "/here", "HOME": "/home"}
    assert "PYTHONPATH" not in teacher._environment(own, "cpu", foreign=True)
    assert teacher._environment(own, "cpu", foreign=False)["PYTHONPATH"] == "/here"


def test_an_absent_saved_model_is_named(tmp_path):
    with pytest.raises(WeightsMissing, match=r"openseg needs saved_model\.pb"):
        registry.load("openseg", LoadOptions(str(tmp_path)))


def test_another_file_than_the_graph_is_refused(tmp_path):
    (tmp_path / "model.pb").touch()
    with pytest.raises(InputError, match=r"saved_model\.pb, is required.*model\.pb"):
        registry.load("openseg", LoadOptions(str(tmp_path / "model.pb")))


def test_its_id_follows_names_and_bytes(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "variables.index").write_bytes(b"weights")
    before = teacher.saved_model_id(tmp_path)
    (tmp_path / "fingerprint.pb").write_bytes(b"decides nothing")
    assert teacher.saved_model_id(tmp_path) == before
    (tmp_path / "variables" / "variables.index").write_bytes(b"Weights")
    assert teacher.saved_model_id(tmp_path) != before


def test_without_tensorflow_the_remedy_is_an_interpreter(tmp_path, monkeypatch):
    if importlib.util.find_spec("tensorflow"):
        pytest.skip("TensorFlow is in this environment")
    monkeypatch.delenv(teacher.PYTHON, raising=False)
    with pytest.raises(InputError, match=r"No module named 'tensorflow'.*OPENSEG_PY"):
        teacher._start(str(tmp_path), "cpu")


@pytest.fixture(scope="module")
def tensorflow():
    """An interpreter that has TensorFlow."""
    named = os.environ.get(teacher.PYTHON)
    if named is None and importlib.util.find_spec("tensorflow") is None:
        pytest.skip(
            "TensorFlow is not in this environment; $SAS_OPENSEG_PYTHON names another"
        )
    return named or sys.executable


def _saved(python, folder, *arguments):
    script = str(pathlib.Path(openseg_saved_model.__file__))
    run = [python, script, str(folder), *arguments]
    subprocess.run(run, check=True, capture_output=True, timeout=200)
    return str(folder)


def test_a_saved_model_answers_as_it_was_built(tensorflow, tmp_path, untrained):
    folder = _saved(tensorflow, tmp_path)
    weights_id = teacher.saved_model_id(tmp_path)
    model = teacher.OpenSeg(folder, weights_id, untrained._text)
    try:
        assert model.spec.preprocess["runs_on"].startswith("tensorflow 2.")
        images = [_image(30, 40), _image(9, 47, seed=1), _image(1, 1, seed=2)]
        for image, features in zip(images, model.features(images), strict=True):
            cells = image[::2, ::2].astype(np.float32) / 255
            grid = (cells @ openseg_saved_model.MATRIX).astype(np.float16)
            wanted = _aligned(grid, *image.shape[:2])
            assert features.shape == wanted.shape
            # Sums of three products, in another order: f16's last bit may differ.
            np.testing.assert_allclose(features, wanted, rtol=2**-10, atol=2**-11)
        with pytest.raises(InputError, match=r"must answer, got Invalid.*-26"):
            model.features([_image(100, 100)])  # more cells than the square has
        assert len(model.features(images[:1])) == 1
    finally:
        model.close()


def test_a_saved_model_of_another_signature_is_refused(tensorflow, tmp_path):
    folder = _saved(tensorflow, tmp_path, "features")
    with pytest.raises(InputError, match=r"must map.*ppixel_ave_feat.*got.*features"):
        teacher._start(folder, "cpu")
