"""Scalars of a run: read back as they were written, and a full disk is an error."""

import errno

import pytest

from sas_jax.view import tensorboard
from sas_jax.view.scalars import read_scalars
from sas_jax.view.tensorboard import SummaryWriter


def test_what_is_written_is_read(tmp_path):
    writer = SummaryWriter(tmp_path, purge_step=0)
    for step in range(30):
        writer.add_scalar("train/loss", step / 2, step)
    writer.close()
    steps, values = read_scalars(tmp_path)["train/loss"]
    assert steps.tolist() == list(range(30))
    assert values.tolist() == [step / 2 for step in range(30)]


def test_who_is_not_to_write_leaves_nothing(tmp_path):
    writer = SummaryWriter(tmp_path / "none", write_to_disk=False)
    writer.add_scalar("loss", 1.0, 0)
    writer.flush()
    writer.close()
    assert not (tmp_path / "none").exists()


def test_a_full_disk_is_told_to_who_adds(tmp_path, monkeypatch):
    writer = SummaryWriter(tmp_path)

    def full(self, event):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensorboard.EventsWriter, "write_event", full)
    for step in range(30):  # more than the queue of a thread would take
        with pytest.raises(OSError, match="No space left"):
            writer.add_scalar("loss", 1.0, step)
