"""The whole method through the scripts, small: it finishes, skips, and survives kills.

Two training rooms and one test room with tiny frames; the shipped teachers and the
shipped diffusion model where they are there. Numbers mean nothing here; files, exit
states and messages do.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch", reason="the teachers' half needs the extra [teachers]")
pytest.importorskip("embreex", reason="the rooms need the extra [rooms]")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = [
    "--num_train=2",
    "--num_val=0",
    "--num_test=1",
    "--frames_per_room=6",
    "--render_size=96,72",
    "--image_size=96,72",
    "--border_px=2",
    "--spacing_m=0.1",
    "--images_per_class=1",
    "--diffusion_steps=2",
    "--teacher_px=64",
    "--arch=MinkUNet14A",
    "--voxel_size_m=0.12",
    "--batch_size=2",
    "--epochs=3",
    "--self_distillation=0.4",
    "--min_vertices=20",
]


def command(script: str, folder: pathlib.Path, *extra: str) -> list[str]:
    """Return the command line of a script in a workspace below `folder`."""
    return [
        sys.executable,
        str(ROOT / "experiments" / script),
        f"--flagfile={ROOT / 'rooms_scratch.flags'}",
        f"--data_root={folder / 'data'}",
        f"--workspace={folder / 'run'}",
        *TINY,
        *extra,
    ]


def run(script: str, folder: pathlib.Path, *extra: str) -> subprocess.CompletedProcess:
    """Run a script to its end."""
    return subprocess.run(
        command(script, folder, *extra),
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment(folder),
        check=False,
    )


def environment(folder: pathlib.Path) -> dict[str, str]:
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }


def artefacts(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every finished artefact but logs and timings."""
    patterns = ("features", "capability", "superpoints", "fused", "eval")
    paths = [p for name in patterns for p in (folder / "run" / name).rglob("*")]
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in paths
        if p.is_file() and p.suffix in (".safetensors", ".json") and p.stem != "config"
    }


def contents(folder: pathlib.Path, kind: str) -> dict[str, object]:
    """Return what every finished artefact of a stage holds: a checksum or JSON values.

    Times and sizes are left out, and keys: some name the folder of the data.
    """
    found = {}
    for path in (folder / "run" / kind).rglob("*.json"):
        if path.stem == "config":
            continue
        record = json.loads(path.read_text())
        held = (
            record["sha256"] if path.stem.endswith(".safetensors") else record["data"]
        )
        found[str(path.relative_to(folder))] = held
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """Run the pipeline once; several tests look at what it left."""
    folder = tmp_path_factory.mktemp("pipeline")
    done = run("pipeline.py", folder, "--students=superpoint,full")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "branched off at step" in done.stderr  # the superpoint student, the full one
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pipeline_leaves_a_table_and_a_self_contained_report(finished):
    report = finished / "run" / "report"
    page = (report / "index.html").read_text()
    assert 'src="http' not in page
    assert page.count("data:image/") >= 5
    results = json.loads((report / "results.json").read_text())
    methods = (
        "teacher/rooms-dense",
        "teacher/rooms-mask",
        "fused/add",
        "fused/linear",
        "fused/capability",
        "student/superpoint",
        "student/full",
    )
    assert set(results["rows"]) == {
        name + way for name in methods for way in ("", "+superpoints")
    }
    for row in results["rows"].values():
        assert 0 <= row["miou"] <= 100
    assert all(holds is not None for holds in results["claims"].values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_second_run_makes_nothing_again(finished):
    before = artefacts(finished)
    done = run("pipeline.py", finished, "--students=superpoint,full")
    assert done.returncode == 0, done.stderr[-3000:]
    assert artefacts(finished) == before
    assert len(before) > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_damaged_artefact_is_made_again(finished):
    path = next((finished / "run" / "fused" / "add").glob("*.safetensors"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = run("fuse_features.py", finished, "--strategy=add")
    assert done.returncode == 0, done.stderr[-3000:]
    assert path.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("source", [["--run=full-seed0"], ["--source=fused"]])
def test_query_answers_in_words_and_pictures(finished, source):
    done = run(
        "query.py",
        finished,
        "--scene=room0002_00",
        "--text=a chair",
        *source,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert '"a chair"' in done.stdout
    (answers,) = (finished / "run" / "queries").glob("room0002_00-*")
    (folder,) = answers.glob("student-*" if "run" in source[0] else "fused-*")
    names = {path.name for path in (folder / "a_chair").iterdir()}
    found = json.loads((folder / "a_chair" / "answer.json").read_text())["regions"]
    pictures = {"heat.ply", "sheet.png"} if found else set()
    assert pictures | {"answer.json"} == {n for n in names if "object" not in n}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "script",
    ["extract_features.py", "measure_capability.py", "make_superpoints.py"],
)
def test_kill_in_a_stage_loses_nothing_that_was_finished(finished, tmp_path, script):
    (tmp_path / "data").symlink_to(finished / "data")
    kind = {"ext": "features", "mea": "capability", "mak": "superpoints"}[script[:3]]
    process = subprocess.Popen(
        command(script, tmp_path),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(tmp_path),
    )
    target = tmp_path / "run" / kind
    while process.poll() is None and not any(target.rglob("*.safetensors.json")):
        time.sleep(0.01)  # polling a process, not waiting for luck
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {n: t for n, t in artefacts(tmp_path).items() if "safetensors.json" in n}
    assert before
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert before.items() <= artefacts(tmp_path).items()
    assert contents(tmp_path, kind) == contents(finished, kind)


@pytest.mark.parametrize(
    ("script", "extra", "message"),
    [
        ("train.py", ["--epoch=3"], "Did you mean"),
        ("evaluate.py", ["--methods=best/of"], "teacher/<name>"),
        ("extract_features.py", ["--teachers=clop"], "clop"),
        ("fuse_features.py", ["--vocabulary=outdoors"], "outdoors"),
        ("query.py", ["--scene=nowhere", "--text=x"], "nowhere"),
        ("make_rooms.py", ["--num_train=-1"], "num_train"),
        ("pipeline.py", ["--tasks=instances,walks"], "got walks"),
        ("pipeline.py", ["--tasks=questions", "--label_set=scannet19"], "--label_set"),
    ],
)
def test_wrong_flags_are_named_in_one_line(tmp_path, script, extra, message):
    done = run(script, tmp_path, *extra)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
