"""Benchmarks of whole scenes run, on small ones, and their rows say what they took."""

import json
import os
import subprocess
import sys

import pytest

SMALL = {
    "bench_lifting.py": ("--points=3000", "--frames=3"),
    "bench_superpoints.py": ("--points=3000", "--cloud"),
}


@pytest.mark.parametrize("script", SMALL)
def test_it_leaves_a_row(root, tmp_path, script):
    subprocess.run(
        [sys.executable, f"benchmarks/{script}", *SMALL[script]],
        cwd=root,
        env={**os.environ, "SAS_JAX_RESULTS": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = tmp_path.iterdir()
    row = json.loads(path.read_text())
    assert row["points"] == 3000 and row["superpoints"] > 5
    assert 0 < row["peak_gb"] < 1
    if script == "bench_lifting.py":
        # Three frames see a part of the room, each point at most three times.
        assert 100 < row["views"] <= 9000 and row["file_mb"] < 1


def test_a_teacher_leaves_a_row(root, tmp_path):
    pytest.importorskip("torch")
    asked = ("--sizes=tiny", "--teachers=lseg", "--precisions=f32", "--batches=2")
    subprocess.run(
        [sys.executable, "benchmarks/bench_teachers.py", *asked, "--seconds=0"],
        cwd=root,
        env={**os.environ, "SAS_JAX_RESULTS": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    row = json.loads((tmp_path / "teachers.jsonl").read_text())
    assert (row["teacher"], row["size"], row["batch"]) == ("lseg", "tiny", 2)
    assert row["weights"] == "random" and row["image_hw"] == [240, 320]
    per_frame = row["ms_least"] / row["batch"]
    assert row["frames_per_s"] == pytest.approx(1e3 / per_frame, rel=0.01)
    assert row["versions"]["torch"] and row["cpu_ms"] > 0
