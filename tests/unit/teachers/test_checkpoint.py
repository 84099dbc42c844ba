"""Checkpoints: read without trust, and a network is filled completely or not at all."""

import argparse
import os
import pathlib

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from sas_jax.errors import InputError  # noqa: E402
from sas_jax.teachers.checkpoint import (  # noqa: E402
    built,
    fill,
    read_state,
    sized,
    without_prefix,
)


class Callback:
    """What trainers keep beside the tensors."""


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def network():
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_a_trainers_file(tmp_path, legacy):
    state = built(network, 0).state_dict()
    held = {
        "epoch": 7,
        "state_dict": state,
        "hyper_parameters": argparse.Namespace(lr=1e-3, sizes={1, 2}, at=(1, None)),
        "callbacks": {Callback: {"best": 0.5}, ("a", 1): Callback()},
        "path": pathlib.PurePosixPath("/a/b"),
        "trap": Trap(tmp_path / "sprung"),
    }
    torch.save(held, tmp_path / "a.ckpt", _use_new_zipfile_serialization=not legacy)
    found = read_state(tmp_path / "a.ckpt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert not (tmp_path / "sprung").exists()


def test_tensors_of_plain_files(tmp_path):
    state = built(network, 0).state_dict()
    torch.save(state, tmp_path / "a.pt")
    torch.save({"model": state}, tmp_path / "a.pth")
    torch.save({"model": {"state_dict": state}}, tmp_path / "b.pth")
    save_file(state, tmp_path / "a.safetensors")
    for path in tmp_path.iterdir():
        found = read_state(path)
        assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("held", [{}, {"a": 1}, [1, 2], {"state_dict": {}}])
def test_a_file_without_tensors_is_refused(tmp_path, held):
    torch.save(held, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"dictionary of tensors.*a\.pt"):
        read_state(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, name):
    state = built(network, 0).state_dict()
    save = save_file if name.endswith("safetensors") else torch.save
    save(state, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=name):
        read_state(tmp_path / name)


def test_a_network_is_filled_completely():
    state = built(network, 0).state_dict()
    filled = fill(
        network(),
        {**state, "head.x": state["0.bias"]},
        what="a",
        path="p",
        unused=["head."],
    )
    assert all(torch.equal(a, state[n]) for n, a in filled.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, r"1 missing: 0\.bias"),
        ({"2.bias": torch.zeros(3)}, r"1 left over: 2\.bias"),
        ({"0.bias": torch.zeros(4)}, r"0\.bias \[4\] for \[3\]"),
        ({"0.bias": torch.zeros(3, dtype=torch.int8)}, r"1 of whole numbers: 0\.bias"),
        ({"0.bias": torch.tensor([0, 1.0, torch.nan])}, r"finite.* 1 tensors: 0\.bias"),
        ({"1.running_var": torch.full((3,), torch.inf)}, r"finite.*1\.running_var"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    state = {**built(network, 0).state_dict(), **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        fill(network(), state, what="a", path="p")


def test_random_weights_are_of_their_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (built(network, seed)[0].weight for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("prefix", ["", "net.", "module.model."])
def test_names_of_a_wrapped_network(prefix):
    held = {f"{prefix}{name}": torch.zeros(1) for name in ("a.weight", "b.weight")}
    others = {"loss.scale": torch.zeros(1)} if prefix else {}
    assert [*without_prefix({**others, **held}, "a.weight")] == ["a.weight", "b.weight"]
    assert without_prefix(held, "c.weight") == held


def test_sizes_that_no_network_has_are_told_with_the_file():
    with (
        pytest.raises(InputError, match=r"net: tensors of the shapes.*\(p: .*zero"),
        sized("net", "p"),
    ):
        raise ZeroDivisionError("by zero")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_folder_or_a_pipe_in_place_of_a_file_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / f"pipe-{name}")  # which nobody writes to
    for path in (tmp_path / name, tmp_path / f"pipe-{name}"):
        with pytest.raises(InputError, match="instead of a file"):
            read_state(path)
