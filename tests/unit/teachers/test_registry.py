"""The registry: names, what is missing, and that every row can be loaded."""

import dataclasses

import pytest

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry
from sas_jax.weights.cards import card


def test_names_by_contract():
    assert set(registry.names("dense", "mask")) >= {"rooms-dense", "rooms-mask"}
    assert set(registry.names("captioner")) >= {"colour-size", "none"}
    assert registry.names() == list(registry.ENTRIES)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"rooms-dense.*got lsegg"):
        registry.load("lsegg")


def test_a_model_of_another_table_is_no_teacher():
    with pytest.raises(InputError, match=r"one of rooms-dense.*got sam\."):
        registry.entry("sam")


def test_missing_modules_are_named(monkeypatch):
    row = dataclasses.replace(registry.entry("none"), needs=("no_such_module",))
    monkeypatch.setitem(registry.ENTRIES, "none", row)
    assert registry.missing_needs(row) == ["no_such_module"]
    with pytest.raises(InputError, match="no_such_module"):
        registry.load("none")


def test_missing_weights_say_how_to_get_them(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(WeightsMissing, match="weights=rooms-dense="):
        registry.load("rooms-dense", LoadOptions(str(tmp_path / "no.safetensors")))


def test_missing_shipped_weights_say_how_to_make_them(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from sas_jax.rooms.teachers import nets

    monkeypatch.setattr(nets, "SHIPPED", tmp_path)
    with pytest.raises(WeightsMissing, match="pretrain_rooms"):
        registry.load("rooms-mask")


# Gigabytes of random numbers.
LARGE = {"odise", "sam3", "siglip2"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else [])
        for name in registry.ENTRIES
    ],
)
def test_every_row_loads_with_what_it_says(name):
    row = registry.entry(name)
    if missing := registry.missing_needs(row):
        pytest.skip(f"not installed here: {', '.join(missing)}")
    made_of_files = row.contract != "captioner" or card(name).files
    weights = "random:0" if made_of_files else None
    model = registry.load(name, LoadOptions(weights))
    if row.contract == "captioner":
        assert model.id and hasattr(model, "caption")
    else:
        assert model.spec.name == name
        assert model.spec.contract == row.contract
        assert model.spec.weights_id == "random:0"


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        (
            "none",
            {"contracts": ("dense", "mask")},
            r"rooms-dense.*got none, a captioner",
        ),
        (
            "none",
            {"options": LoadOptions(device="tpu")},
            r"cpu or a GPU.*got tpu\.",
        ),
        (
            "none",
            {"options": LoadOptions(device="cuda:99")},
            r"got cuda:99, and PyTorch sees \d+ GPUs",
        ),
        (
            "rooms-dense",
            {"options": LoadOptions("random:x")},
            r"whole number of at most 9 digits",
        ),
        ("none", {"options": LoadOptions("random:0")}, "none is a model without weig"),
        ("colour-size", {"options": LoadOptions("/")}, "without weights, got /"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_loading(name, asked, message):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match=message):
        registry.check(name, **asked)
    with pytest.raises(InputError, match=message):
        registry.load(name, **asked)
