"""Published features, tables and weights serve the stages as if they were made here."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from fresh_student import init_student
from scene_files import write_ply

from sas_jax.artefacts.features import load_features
from sas_jax.artefacts.files import read_json, write_json
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.torch_write import write_torch
from sas_jax.capability.store import TABLE_SCHEMA
from sas_jax.classes import vocabulary
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol
from sas_jax.models.config import StudentConfig
from sas_jax.models.port import to_minkowski
from sas_jax.scenes.ply import read_ply
from sas_jax.text import known_texts, registry
from sas_jax.text.prompts import prompts

SCENES = {"train": "scene0000_00", "val": "scene0001_00"}
NAMES = vocabulary("matterport21").names
NYU40 = {"wall": 1, "floor": 2, "chair": 5}


@pytest.fixture
def stage(root, tmp_path, monkeypatch):
    """Return what runs scripts, or their functions, on the data of the test."""
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "cache"))
    settings = importlib.import_module("settings")
    settings.encoded.cache_clear()
    values = {
        "data_root": str(tmp_path / "data"),
        "workspace": str(tmp_path / "run"),
        "splits": ["train", "val"],
        "eval_split": "val",
        "teachers": ["lseg", "seem"],
        "threads": 1,
    }

    def run(name, **more):
        script = importlib.import_module(name)
        flags.FLAGS.mark_as_parsed()
        with flagsaver.flagsaver(**{**values, **more}):
            script.main()
        return script

    return run


@pytest.fixture
def texts(tmp_path):
    """Vectors of the classes, as SAS gives them, in a file."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(len(NAMES), 512))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(rows), tmp_path / "vocabulary_embedding.pth")
    return rows.astype(np.float32)


@pytest.fixture
def data(tmp_path, texts):
    """Two labelled scenes in ScanNet's layout and what is published of them."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    for split, name in SCENES.items():
        folder = tmp_path / "data" / "scans" / name
        folder.mkdir(parents=True)
        points = rng.uniform(0, 1.2, (600, 3)).astype(np.float32)
        kind = np.digitize(points[:, 2], (0.4, 0.8))
        ids = np.array(list(NYU40.values()))[kind]
        stem = folder / f"{name}_vh_clean_2"
        write_ply(f"{stem}.ply", points, [[0, 1, 2]])
        write_ply(f"{stem}.labels.ply", points, [[0, 1, 2]], label=ids)
        (tmp_path / "data/splits").mkdir(exist_ok=True)
        (tmp_path / f"data/splits/{split}.txt").write_text(name)
        row = np.array([NAMES.index(n) for n in NYU40])[kind]
        feat = texts[row] + rng.normal(0, 0.01, (600, 512))
        for teacher, noise in (("lseg", 0.0), ("seem", 0.2), ("fused", 0.0)):
            (tmp_path / teacher).mkdir(exist_ok=True)
            noisy = (feat + rng.normal(0, noise, feat.shape)).astype(np.float16)
            for k in range(2 if teacher == "fused" else 1):
                seen = np.arange(600) % 2 == k if teacher == "fused" else kind < 9
                part = {"feat": noisy[seen], "mask_full": seen}
                write_torch(tmp_path / teacher / f"{name}_{k}.pt", part)
        (tmp_path / "superpoint").mkdir(exist_ok=True)
        ends = tmp_path / "superpoint" / f"{name}_vh_clean_2.pth"
        torch.save(kind.astype(np.int64), ends)
    for teacher, level in (("lseg", 0.6), ("seem", 0.3)):
        miou = np.full(21, level)
        miou[NAMES.index("other")] = 0
        np.save(tmp_path / f"{teacher}_miou.npy", miou)
    return tmp_path


def imported(data):
    return {
        "fused": str(data / "fused"),
        "superpoint_files": str(data / "superpoint"),
        "text_features": [f"matterport21={data / 'vocabulary_embedding.pth'}"],
    }


def test_imported_features_train_and_are_scored(data, stage, capsys):
    stage("import_features", **imported(data))
    run = data / "run"
    for name in SCENES.values():
        path = data / "data/scans" / name / f"{name}_vh_clean_2.ply"
        points = read_ply(path).points
        features = load_features(run / f"fused/capability/{name}.safetensors", points)
        parts = [read_torch(data / f"fused/{name}_{k}.pt")["feat"] for k in (0, 1)]
        np.testing.assert_array_equal(features.feat[0::2], parts[0])
        np.testing.assert_array_equal(features.feat[1::2], parts[1])
        assert features.space == known_texts.CLIP_B32
        ids = load_superpoints(run / f"superpoints/{name}.safetensors", points)
        assert set(ids) == {0, 1, 2}
    stage("evaluate", methods=["fused/capability"])
    found = protocol.load(run / "eval/val/fused-capability.json")
    assert found.scores().overall > 99

    small = {"arch": "MinkUNet14S", "voxel_size_m": 0.1, "batch_size": 1, "epochs": 2}
    stage("train", run="two", **small, loop=1, self_distillation=0.0)
    stage("evaluate", methods=["student/two"])
    assert (run / "eval/val/student-two.json").exists()
    out = capsys.readouterr().out
    assert "texts of matterport21, 0 compared" in out

    before = {p: p.stat().st_ino for p in run.glob("fused/*/*.safetensors")}
    stage("import_features", **imported(data))  # up to date
    assert {p: p.stat().st_ino for p in before} == before
    assert "texts of matterport21, 21 compared" in capsys.readouterr().out


def test_published_points_and_features_need_no_raw_data(data, stage):
    torch = pytest.importorskip("torch")
    for split, name in SCENES.items():
        folder = data / "scannet_3d" / split
        folder.mkdir(parents=True)
        mesh = data / "data/scans" / name / f"{name}_vh_clean_2.ply"
        points = read_ply(mesh).points
        kind = read_torch(data / f"superpoint/{name}_vh_clean_2.pth")
        labels = np.array([NAMES.index(n) for n in NYU40])[kind].astype(np.float64)
        item = (points, np.zeros_like(points), labels)
        torch.save(item, folder / f"{name}_vh_clean_2.pth")
    there = {"data_root": str(data / "scannet_3d")}
    stage("import_features", **imported(data), **there)
    stage("evaluate", methods=["fused/capability"], **there)
    found = protocol.load(data / "run/eval/val/fused-capability.json")
    assert found.scores().overall > 99


def test_imported_capabilities_fuse(data, stage):
    teachers = ("lseg", "seem")
    stage(
        "import_features",
        point_features=[f"{t}={data / t}" for t in teachers],
        capabilities=[f"{t}={data / t}_miou.npy" for t in teachers],
        text_features=imported(data)["text_features"],
    )
    stage("fuse_features", strategy="capability")
    name = SCENES["val"]
    fused = load_features(data / f"run/fused/capability/{name}.safetensors")
    lseg, seem = (read_torch(data / t / f"{name}_0.pt")["feat"] for t in teachers)
    # Every class but `other` has 0.6 and 0.3: Eq. 7 and 8 with tau = 0.05.
    weight = 1 / (1 + np.exp(-0.3 / 0.05))
    expected = weight * lseg.astype(np.float32) + (1 - weight) * seem
    np.testing.assert_allclose(fused.feat, expected, atol=2e-3)


def test_tables_from_elsewhere_fuse_without_painting(data, stage, capsys):
    teachers = ("lseg", "seem")
    tables = {"capabilities": [f"{t}={data / t}_miou.npy" for t in teachers]}
    texts = {"text_features": imported(data)["text_features"]}
    points = {"point_features": [f"{t}={data / t}" for t in teachers]}
    theirs, name = data / "their_run", SCENES["val"]
    stage("import_features", **tables, workspace=str(theirs))
    stage("import_features", **points, **texts)
    files = [str(theirs / "capability" / f"{t}.json") for t in teachers]
    seen = set()
    for places in ([str(theirs)], [str(theirs / "capability")], files):
        stage("fuse_features", strategy="capability", capability_from=places)
        path = data / f"run/fused/capability/{name}.safetensors"
        seen.add(path.read_bytes())
        path.unlink()
        assert not (data / "run/capability").exists()
    stage("measure_capability", capability_from=[str(theirs)])
    assert "lseg: measured elsewhere, " in capsys.readouterr().out
    stage("import_features", **tables)
    stage("fuse_features", strategy="capability")
    seen.add((data / f"run/fused/capability/{name}.safetensors").read_bytes())
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": "odise"}, r"a table of lseg is required, got one of odise"),
        ({"text_space": "minilm-l6-v2@1/384"}, "space"),
        ({"miou": {"wall": 0.5}, "classes": ["wall"], "measured": []}, "every class"),
        (
            {"facts": {"teacher": {"weights_id": "sha256:b"}}},
            r"weights of lseg.*sha256",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused(data, stage, change, message):
    theirs = data / "their_run"
    tables = [f"lseg={data}/lseg_miou.npy"]
    stage("import_features", capabilities=tables, workspace=str(theirs))
    stage(
        "import_features",
        point_features=[f"lseg={data}/lseg"],
        text_features=imported(data)["text_features"],
    )
    spec = {"teacher": {"weights_id": "sha256:a"}}
    path = data / "run/features/lseg/config.json"
    write_json(path, spec, key="lseg", schema="sas_jax.extract_config/1")
    table = theirs / "capability/lseg.json"
    stated = read_json(table, schema=TABLE_SCHEMA)
    write_json(table, {**stated, **change}, key="changed", schema=TABLE_SCHEMA)
    asked = {"strategy": "capability", "teachers": ["lseg"]}
    with pytest.raises(InputError, match=message):
        stage("fuse_features", **asked, capability_from=[str(theirs)])
    for places, said in (
        ([str(data / "nowhere")], "table of lseg is required, got none"),
        ([str(data / "lseg_miou.npy")], "--capabilities=lseg="),
    ):
        with pytest.raises(InputError, match=said):
            stage("fuse_features", **asked, capability_from=places)


def test_what_cannot_be_imported_is_said(data, stage):
    with pytest.raises(InputError, match="something to import is required"):
        stage("import_features")
    with pytest.raises(InputError, match="got fused features of none"):
        stage("import_features", fused=str(data / "superpoint"))
    with pytest.raises(InputError, match=r"<name>=<path>, got lseg"):
        stage("import_features", point_features=["lseg"])
    with pytest.raises(InputError, match=r"channels are required for minilm.*got 512"):
        stage("import_features", fused=str(data / "fused"), text_space="minilm-l6-v2")
    stage("import_features", fused=str(data / "fused"))
    with pytest.raises(InputError, match=r"tower clip-vit-b32.*--text_features"):
        stage("evaluate", methods=["fused/capability"])


def test_vectors_of_another_tower_are_refused(data, stage):
    stage("import_features", text_features=imported(data)["text_features"])
    tower = registry.load("clip-vit-b32")
    rows = tower.encode(prompts(NAMES))
    write_torch(data / "dict.pth", {"rows": rows})
    with pytest.raises(InputError, match="vectors"):
        stage("import_features", text_features=[f"matterport21={data / 'dict.pth'}"])
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(rows[::-1].copy()), data / "turned.pth")
    turned = [f"matterport21={data / 'turned.pth'}"]
    with pytest.raises(InputError, match=r"cosine.*'a wall in a scene'"):
        stage("import_features", text_features=turned)


@pytest.fixture
def command(root, data):
    """Return what runs a script by itself: flags of two collide in one process."""

    def run(name, *more, code=0):
        known = [f"--data_root={data / 'data'}", f"--workspace={data / 'run'}"]
        where = {"SAS_JAX_CACHE": str(data / "cache"), "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, str(root / f"experiments/{name}.py"), *known, *more],
            env={**os.environ, **where},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr[-2000:]
        return done.stdout + done.stderr

    return run


def read_pcd(path):
    """Read the binary cloud of a test."""
    header, _, data = path.read_bytes().partition(b"DATA binary\n")
    assert b"FIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\n" in header
    rows = np.frombuffer(data, [("xyz", "<f4", 3), ("bgr", "u1", 4)])
    assert f"POINTS {len(rows)}\n".encode() in header
    return rows["xyz"], rows["bgr"][:, 2::-1]


def test_fused_features_are_exported(data, stage, command):
    stage("import_features", fused=str(data / "fused"))
    name, theirs = SCENES["val"], data / "theirs"
    where = ("--source=fused", "--eval_split=val", f"--out={theirs}")
    command("export_scene", "--form=openscene", "--splits=train,val", *where)
    assert sorted(p.name for p in theirs.iterdir()) == sorted(
        f"{name}_0.pt" for name in SCENES.values()
    )
    ours = load_features(data / f"run/fused/capability/{name}.safetensors")
    back = read_torch(theirs / f"{name}_0.pt")
    np.testing.assert_array_equal(back["feat"], ours.feat)
    assert back["mask_full"].all() and back["feat"].dtype == np.float16

    half = read_torch(data / f"fused/{name}_1.pt")
    write_torch(data / "odd" / f"{name}_0.pt", half)
    run2 = f"--workspace={data / 'run2'}"
    stage("import_features", fused=str(data / "odd"), workspace=str(data / "run2"))
    command("export_scene", "--form=openlex3d", f"--scene={name}", *where, run2)
    folder = theirs / name
    embeddings, index = (
        np.load(folder / f"{part}.npy", allow_pickle=False)
        for part in ("embeddings", "index")
    )
    points, colors = read_pcd(folder / "point_cloud.pcd")
    mesh = read_ply(data / "data/scans" / name / f"{name}_vh_clean_2.ply")
    np.testing.assert_array_equal(points, mesh.points[1::2])
    assert colors.shape == points.shape and (colors == 160).all()
    np.testing.assert_array_equal(embeddings[index], half["feat"])
    assert embeddings.dtype == np.float32 and index.dtype == np.int64


def test_a_students_voxels_are_objects(data, command):
    name = SCENES["val"]
    where = (f"--scene={name}", f"--out={data / 'theirs'}", "--student=rooms")
    for form in ("openlex3d", "openscene"):
        command("export_scene", f"--form={form}", *where)
    index = np.load(data / f"theirs/{name}/index.npy")
    embeddings = np.load(data / f"theirs/{name}/embeddings.npy")
    assert len(index) == 600 and set(index) == set(range(len(embeddings)))
    assert len(embeddings) < 600
    dense = read_torch(data / f"theirs/{name}_0.pt")
    assert dense["mask_full"].all()
    np.testing.assert_array_equal(dense["feat"], embeddings[index].astype(np.float16))


def test_an_imported_checkpoint_is_scored_and_exported(data, stage, command):
    """With random weights: what counts is that every stage takes it."""
    config = StudentConfig("MinkUNet14A", out_dim=512)
    state = to_minkowski(init_student(config, 0), config, prefix="module.net3d.")
    path, student = data / "model_best.pth.tar", data / "imported.safetensors"
    write_torch(path, {"epoch": 3, "state_dict": state, "best_iou": 0.5})
    files = (f"--checkpoint={path}", f"--out={student}")
    said = command("import_checkpoint", *files, "--voxel_size_m=0.1")
    assert "MinkUNet14A, 3 -> 512 channels" in said and "clip-vit-b32" in said
    stage("import_features", text_features=imported(data)["text_features"])
    stage("evaluate", student=str(student), methods=["student/imported.safetensors"])
    assert (data / "run/eval/val/student-imported.safetensors.json").exists()
    command("import_checkpoint", f"--student={student}", f"--export={data / 'back'}")
    back = read_torch(data / "back")["state_dict"]
    assert all(back[name].tobytes() == a.tobytes() for name, a in state.items())
    said = command("import_checkpoint", f"--checkpoint={path}", code=1)
    assert "--checkpoint with --out, or --export, is required" in said
    asked = ("--scene=scene0001_00", "--text=a lamp", f"--student={student}")
    assert "which are not among 21 known ones" in command("query", *asked, code=1)
