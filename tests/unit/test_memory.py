"""Memory is asked for before it is taken."""

import os
import pathlib
import resource
import subprocess
import sys

import pytest

from sas_jax import memory
from sas_jax.errors import InputError

LIMIT = 4 << 30


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Stand in for the machine's control groups; returns a function that writes one."""
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text("9:name=systemd:/\n4:memory:/jobs/7\n0::/batch/8\n")

    def write(folder, **files):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name.replace("_", ".", 1)).write_text(f"{text}\n")

    return write


def test_the_machine_has_some_memory_and_not_more_than_all():
    free = memory.available_bytes()
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < free <= everything


def test_a_container_leaves_what_its_limit_says_and_its_cache_is_free(group):
    group(".", memory_max=3 << 20, memory_current=2 << 20,
          memory_stat="anon 5\ninactive_file 1000")  # fmt: skip
    assert memory.available_bytes() == (1 << 20) + 1000


def test_a_container_without_a_limit_leaves_what_the_machine_has(group):
    group(".", memory_max="max", memory_current=2 << 20, memory_stat="inactive_file 0")
    assert memory.available_bytes() > 1 << 20


def test_the_narrowest_group_counts(group):
    stat = "inactive_file 0"
    group(".", memory_max=5000, memory_current=0, memory_stat=stat)
    assert memory.available_bytes() == 5000
    group("batch", memory_max=4000, memory_current=0, memory_stat=stat)
    assert memory.available_bytes() == 4000
    group("batch/8", memory_max=4000, memory_current=100, memory_stat=stat)
    assert memory.available_bytes() == 3900


def test_groups_of_the_first_version_count(group):
    group("memory/jobs/7", memory_limit_in_bytes=9000, memory_usage_in_bytes=8000,
          memory_stat="total_inactive_file 1000\ninactive_file 5")  # fmt: skip
    assert memory.available_bytes() == 2000


def test_a_limit_of_the_process_counts():
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, ({LIMIT}, {LIMIT}))
from sas_jax import memory
print(memory.available_bytes())
"""
    root = pathlib.Path(memory.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 0 < int(done.stdout) < LIMIT
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_what_does_not_fit_is_refused_in_one_line():
    memory.require(10, "a sum", 10)
    with pytest.raises(InputError) as refused:
        memory.require(3_000_000_000, "a sum", 2_000_000_000, "Wait.")
    assert str(refused.value) == (
        "memory: about 3.0 GB are required for a sum, got 2.0 GB free. Wait."
    )


def test_a_device_without_numbers_is_not_guessed():
    class Device:
        platform = "cuda"

        def __init__(self, stats):
            self.memory_stats = lambda: stats

    assert memory.device_bytes(Device(None)) > 9
    assert memory.device_bytes(Device({"bytes_limit": 9, "bytes_in_use": 2})) == 7
