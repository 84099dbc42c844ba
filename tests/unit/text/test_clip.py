"""CLIP's text towers: against f64, JAX against PyTorch, files, spaces, questions."""

import dataclasses
import json
import logging

import clip_oracle
import numpy as np
import pytest
from safetensors.numpy import save_file

from sas_jax.artefacts.files import sha256_file
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.text import (
    clip,
    clip_files,
    clip_forward,
    clip_tokens,
    clip_weights,
    registry,
)
from sas_jax.text.known_texts import CLIP_B32, KnownTexts

try:
    clip_tokens.load_tokenizer()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

NAME = CLIP_B32.name
TEXTS = ["a chair", "a red sofa in a scene", "other", "", "Caf\u00e9!", "word " * 90]
SMALL = clip_weights.Size(dim=512, width=64, layers=2, heads=1)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A small tower of f16 values; its name, and no cache or weights of the user's."""
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAS_JAX_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(clip_weights.SIZES, NAME, SMALL)
    registry._load.cache_clear()
    tower = clip_weights.random_tower(SMALL, 0)
    yield {name: a.astype(np.float16).astype(np.float32) for name, a in tower.items()}
    registry._load.cache_clear()


def rows_of(tower, texts=TEXTS, size=SMALL):
    ids = clip_tokens.tokenize(texts)
    rows = clip_oracle.tower(tower, ids, size.heads)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def hub_folder(folder, tower):
    """Write a tower as transformers does, in f32 and with an image tower."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    state = clip_weights.to_transformers(tower)
    images = {"vision_model.embeddings.position_embedding.weight": np.ones((5, 8))}
    save_file(
        {k: np.ascontiguousarray(v) for k, v in {**state, **images}.items()},
        folder / "model.safetensors",
    )
    return folder


def halves(tower, prefix=""):
    return {f"{prefix}{name}": a.astype(np.float16) for name, a in tower.items()}


@pytest.mark.parametrize(
    "name", [NAME, pytest.param("clip-vit-l14-336", marks=pytest.mark.slow)]
)
def test_true_sizes_compute_the_formula_in_both_halves(name, monkeypatch, tmp_path):
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path))
    size = clip_weights.SIZES[name]
    space = TextSpace(name, "random:3", size.dim)
    assert TextSpace.parse(space.id, "the features") == space
    tower = registry.of_space(space, "the features")
    rows = tower.encode(TEXTS)
    expected = rows_of(clip_weights.random_tower(size, 3), TEXTS, size)
    assert rows.dtype == np.float32 and tower.space == space
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from sas_jax.teachers import clip_text

    other = clip_text.load(name, weights="random:3")
    assert other.space == space
    np.testing.assert_allclose(other.encode(TEXTS), expected, rtol=0, atol=1e-6)


def test_company_and_padding_do_not_matter(small):
    weights = clip_files.TextWeights(CLIP_B32, lambda: small)
    many = [*(f"text {i}" for i in range(70)), *TEXTS]
    rows = clip.ClipTower(weights).encode(many)
    np.testing.assert_allclose(rows, rows_of(small, many), rtol=0, atol=1e-6)
    assert clip.ClipTower(weights).encode([]).shape == (0, 512)
    known = clip.ClipTower(dataclasses.replace(weights, read=None))
    np.testing.assert_array_equal(known.encode(many), rows)  # no weights are read
    numpy = clip_forward.features(small, clip_tokens.tokenize(TEXTS), 1)
    np.testing.assert_allclose(numpy, rows_of(small), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_one_tower_has_one_space_in_all_files(small, tmp_path):
    torch = pytest.importorskip("torch")
    files = [hub_folder(tmp_path / "hub_copy", small), tmp_path / "half.pt"]
    write_torch(files[1], halves(small))
    trained = {"state_dict": halves(small, "net.clip_pretrained."), "epoch": 1}
    files.append(tmp_path / "demo.ckpt")
    write_torch(files[2], trained)
    files.append(tmp_path / "traced.pt")
    network = _modules(torch, halves(small))
    torch.jit.trace(network, torch.zeros(1)).save(files[3])
    found = [clip_files.load(NAME, str(path)) for path in files]
    assert {each.space for each in found} == {found[0].space}
    assert found[0].space.weights_sha256 == clip_weights.digest(small)
    for each in found:
        assert each.tower.keys() == small.keys()
        for name, array in each.tower.items():
            np.testing.assert_array_equal(array, small[name])


def _modules(torch, state):
    """Return modules in modules that hold a state dict."""

    class Holder(torch.nn.Module):
        def forward(self, x):
            return x

    root = Holder()
    for name, array in state.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, Holder())
            module = module.get_submodule(part)
        tensor = torch.nn.Parameter(torch.from_numpy(array))
        module.register_parameter(leaf, tensor)
    return root


def test_published_vectors_identify_a_tower(small, tmp_path, monkeypatch):
    folder = str(hub_folder(tmp_path / "copy", small))
    other = clip_weights.random_tower(SMALL, 1)
    assert clip_files.load(NAME, folder).space != CLIP_B32
    rows = {NAME: rows_of(small, ["a cat"]).astype(np.float16)}
    vectors = tmp_path / "vectors.safetensors"
    save_file(rows, vectors, metadata={NAME: json.dumps(["a cat"])})
    monkeypatch.setattr(clip_files, "_VECTORS", vectors)
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "another"))
    assert clip_files.load(NAME, folder).space == CLIP_B32
    assert clip_files.space_of(NAME, small) == CLIP_B32
    assert clip_files.space_of(NAME, other) != CLIP_B32


def test_shipped_vectors_are_of_unit_length_and_apart():
    known = clip_files._published_vectors(NAME)
    rows = np.stack([*known.values()])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    assert list(known) == ["a cat", "a chair", "a couch"]
    assert rows[1] @ rows[2] > 0.85 > rows[0] @ rows[1]


def test_imported_texts_identify_a_tower(small, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_files, "_published_vectors", lambda name: {})
    folder = str(hub_folder(tmp_path / "copy", small))
    assert clip_files.load(NAME, folder).space != CLIP_B32
    rows = rows_of(small, ["a chair"]).astype(np.float32)
    KnownTexts(CLIP_B32).add(["a chair"], TextFeatures(rows, CLIP_B32))
    assert clip_files.load(NAME, folder).space == CLIP_B32
    other = hub_folder(tmp_path / "other", clip_weights.random_tower(SMALL, 1))
    assert clip_files.load(NAME, str(other)).space != CLIP_B32


def test_the_checksum_of_openais_file_identifies_it(small, tmp_path, monkeypatch):
    path = tmp_path / "weights" / NAME / "ViT-B-32.pt"
    write_torch(path, halves(small))
    assert clip_files.load(NAME).space != CLIP_B32
    space = dataclasses.replace(CLIP_B32, weights_sha256=sha256_file(path))
    monkeypatch.setitem(clip_files._PUBLISHED, NAME, space)
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "another"))
    assert clip_files.load(NAME).space == space


def test_the_registry_takes_weights_else_known_texts(small, tmp_path):
    known = registry.load(NAME)
    assert known.space == CLIP_B32
    ways = r"--text_features=.*hf download openai/clip-vit-base-patch32"
    with pytest.raises(InputError, match=ways):
        known.encode(["a chair"])
    registry._load.cache_clear()
    hub_folder(tmp_path / "weights" / NAME, small)
    tower = registry.load(NAME)
    np.testing.assert_allclose(tower.encode(TEXTS), rows_of(small), rtol=0, atol=1e-6)
    assert registry.of_space(tower.space, "the features") is tower
    with pytest.raises(InputError, match=r"get the weights\. Those that were found"):
        registry.of_space(CLIP_B32, "the features").encode(["a chair"])
    with pytest.raises(InputError, match="one text space is required"):
        registry.of_space(TextSpace(NAME, "sha256:0", 512), "the features")


def test_a_network_that_carries_the_tower_will_do(small, tmp_path):
    path = tmp_path / "weights" / "lseg" / "demo_e200.ckpt"
    write_torch(path, {"state_dict": halves(small, "net.clip_pretrained.")})
    assert clip_files.load(NAME).space.weights_sha256 == clip_weights.digest(small)
    hub_folder(tmp_path / "weights" / NAME, clip_weights.random_tower(SMALL, 1))
    assert clip_files.load(NAME).space.weights_sha256 != clip_weights.digest(small)


def test_a_checkpoint_without_the_tower_is_no_carrier(tmp_path):
    path = tmp_path / "weights" / "lseg" / "demo_e200.ckpt"
    write_torch(path, {"state_dict": {"net.a.weight": np.ones(2, np.float32)}})
    with pytest.raises(WeightsMissing, match="clip-vit-b32 needs"):
        clip_files.load(NAME)


def test_what_is_given_comes_before_what_is_found(small, tmp_path):
    write_torch(tmp_path / "weights" / NAME / "ViT-B-32.pt", halves(small))
    other = clip_weights.random_tower(SMALL, 1)
    given = hub_folder(tmp_path / "given", other)
    found = clip_files.load(NAME, str(given))
    assert found.space.weights_sha256 == clip_weights.digest(other)
    assert clip_files.load(NAME).space.weights_sha256 == clip_weights.digest(small)


def test_what_is_no_tower_is_refused(small, tmp_path):
    path = hub_folder(tmp_path / "copy", small) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"complete safetensors .*model\.safetensors"):
        clip_files.load(NAME, str(path.parent))
    path.unlink()
    with pytest.raises(WeightsMissing, match=r"model\.safetensors or pytorch_model"):
        clip_files.load(NAME, str(path.parent))
    with pytest.raises(WeightsMissing, match="nowhere"):
        clip_files.load(NAME, str(tmp_path / "nowhere"))
    part = {k: v for k, v in halves(small).items() if k != "ln_final.bias"}
    write_torch(tmp_path / "part.pt", part)
    with pytest.raises(InputError, match=r"none for \['ln_final\.bias'\].*part\.pt"):
        clip_files.load(NAME, str(tmp_path / "part.pt"))
    write_torch(tmp_path / "numbers.pt", {"a": 3})
    with pytest.raises(InputError, match=r"a text tower of CLIP .*numbers\.pt"):
        clip_files.load(NAME, str(tmp_path / "numbers.pt"))


def test_questions_without_a_known_word_are_refused(small, caplog):
    tower = clip.ClipTower(clip_files.TextWeights(CLIP_B32, lambda: small))
    for text in ("", "...", "\u6c99\u53d1", "\U0001fa91", "\u0441\u0442"):
        with pytest.raises(InputError, match="clip-vit-b32 knows is required"):
            tower.check(["a chair", text])
    with pytest.raises(InputError, match="valid Unicode"):
        tower.check(["\udcff"])
    with caplog.at_level(logging.WARNING):
        tower.check(["chair", "a", "3 CHAIRS", "tv", "a child\u2019s caf\u00e9"])
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        tower.check(["a chair \U0001fa91", "chair " * 100])
    unknown, long = (record.getMessage() for record in caplog.records)
    assert "does not know" in unknown and "takes 77 tokens, got 102" in long


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"text_config": {"hidden_act": "gelu"}},
            "must be quick_gelu.* got gelu",
        ),
        ({"num_attention_heads": 3}, "must be .* got 3"),
        ([], "settings as transformers"),
        ({"text_config": "x"}, "settings as transformers"),
        ({"text_config": {"hidden_act": "quick_gelu"}, "hidden_act": "x"}, None),
    ],
)
def test_a_copy_that_computes_otherwise_is_refused(small, tmp_path, settings, said):
    folder = hub_folder(tmp_path / "copy", small)
    (folder / "config.json").write_text(json.dumps(settings))
    if said is None:
        assert clip_files.load(NAME, str(folder)).space.name == NAME
    else:
        with pytest.raises(InputError, match=rf"clip text: .*{said}.*config\.json"):
            clip_files.load(NAME, str(folder))
