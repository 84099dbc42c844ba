"""Processes that cannot be joined are told in one line, before any of them waits."""

import sys

import pytest

from sas_jax.errors import InputError


@pytest.fixture
def hosts(root, monkeypatch):
    """The module of the scripts."""
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # `launch` has its own
    import hosts

    return hosts


@pytest.mark.parametrize(("count", "number"), [(None, 0), (2, None), (2, 2)])
def test_an_address_needs_count_and_place(hosts, tmp_path, count, number):
    with (
        pytest.raises(InputError, match="--num_processes and a --process_id below it"),
        hosts.joined("node:1234", count, number, tmp_path / "logs"),
    ):
        raise AssertionError("not reached")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("UNKNOWN: Gloo all-reduce failed: Connection closed by peer", True),
        ("INTERNAL: NCCL operation ncclAllReduce failed: remote error", True),
        ("Barrier result: INTERNAL: Shutdown barrier has failed", True),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 10 bytes", False),
        ("operands could not be broadcast together", False),
    ],
)
def test_what_says_that_another_process_is_gone(hosts, text, gone):
    assert bool(hosts._GONE.search(text)) == gone
