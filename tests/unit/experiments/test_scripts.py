"""What the scripts share: flags, names, and how the pipeline runs its stages."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sas_jax.scenes.scene import Scene

# A stage that takes its time to save what it has, as training does.
STAGE = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def save(number, frame):
    time.sleep(0.5)
    (folder / "saved").touch()
    sys.exit(128 + number)
signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGTERM, save)
(folder / "ready").touch()
while True:
    signal.pause()
"""
PIPELINE = """
import signal, sys
import stage_process
# Jobs in the background of a shell begin with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    stage_process.call([sys.executable, "-c", sys.argv[1], sys.argv[2]])
except KeyboardInterrupt:
    sys.exit(77)
"""


def wait_for(path, process):
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)  # polling a process, not waiting for luck


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 77), (signal.SIGTERM, -15), (signal.SIGKILL, -9)],
)
def test_a_stage_may_save_when_the_pipeline_is_told_to_end(
    root, tmp_path, number, status
):
    if number != signal.SIGINT and sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent is gone")
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'experiments'}"}
    command = [sys.executable, "-c", PIPELINE, STAGE, str(tmp_path)]
    with subprocess.Popen(command, env=environment) as pipeline:
        wait_for(tmp_path / "ready", pipeline)
        pipeline.send_signal(number)
        assert pipeline.wait(60) == status
    if number == signal.SIGINT:
        assert (tmp_path / "saved").exists()
    deadline = time.monotonic() + 60
    while not (tmp_path / "saved").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run(root, folder, script, *extra, prefix=()):
    """Run a script on the rooms' flags in a workspace below a folder."""
    return subprocess.run(
        [
            *(sys.executable, *prefix, str(root / "experiments" / f"{script}.py")),
            *(f"--flagfile={root / 'rooms.flags'}", f"--data_root={folder}/data"),
            *(f"--workspace={folder}/run", *extra),
        ],
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'experiments'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--student_seeds=0,x"], "--student_seeds"),
        (["--students=best"], "--students"),
        (["--arch=MinkUNet18C"], "arch"),
        (["--strategy=capabilty"], "strategy"),
        (["--impl=fast"], "impl"),
        (["--point_prompter=samm"], "grabcut, sam, sam2, got samm"),
        (["--init_from=roms"], "--init_from must be rooms"),
        (["--student=roms"], "--student must be rooms"),
        (["--vocabulary=scannet"], "vocabulary: name must be one of"),
        (["--workspace="], "a folder for all results"),
    ],
)
def test_the_pipeline_checks_flags_before_its_first_stage(
    root, tmp_path, extra, message
):
    done = run(root, tmp_path, "pipeline", *extra)
    assert done.returncode != 0 and message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("script", ["extract_features", "measure_capability"])
def test_a_missing_extra_is_named_in_one_line(root, tmp_path, script):
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]\n"
        "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = run(root, tmp_path, script, prefix=("-c", code))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {script}.py: the module torch is required")
    assert f"{root}[teachers]" in line


@pytest.mark.parametrize(
    ("script", "extra", "message"),
    [
        ("extract_features", ["--teachers=colour-size"], "a captioner"),
        ("measure_capability", ["--teachers=clop"], "clop"),
        ("extract_features", ["--captioner=rooms-dense"], "a dense"),
        ("extract_features", ["--weights=foo"], "--weights"),
        (
            "extract_features",
            ["--weights=rooms-mask=a,rooms-mask=b"],
            "--weights must name a model once",
        ),
        ("measure_capability", ["--weights=room-dense=x"], "--weights"),
        (
            "extract_features",
            ["--weights=rooms-mask=~/none.safetensors"],
            str(pathlib.Path.home() / "none.safetensors"),
        ),
        ("extract_features", ["--image_size=320"], "--image_size"),
        ("measure_capability", ["--synthesizer=smal"], "--synthesizer"),
    ],
)
def test_wrong_models_are_named_before_any_work(root, tmp_path, script, extra, message):
    pytest.importorskip("torch")
    done = run(root, tmp_path, script, *extra)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_captioner_is_asked_for_where_there_are_masks(root, tmp_path):
    pytest.importorskip("torch")
    for teachers, is_asked in (("rooms-dense", False), ("rooms-dense,seem", True)):
        extra = (f"--teachers={teachers}", "--captioner=tap", "--weights=seem=random:0")
        wanted = extra[: 3 if is_asked else 2]
        line = run(root, tmp_path, "extract_features", *wanted).stderr.splitlines()[-1]
        assert ("tap_vit_h_v1_1.pkl" in line) is is_asked


def test_a_scan_without_colours_is_drawn(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    import report_pictures

    points = np.random.default_rng(0).random((50, 3), np.float32)
    scene = Scene("grey", points)
    monkeypatch.setattr(report_pictures, "scenes", lambda: (scene,))
    view = report_pictures.drawn(scene, report_pictures.own_colors(scene))
    assert (view != 255).any()
