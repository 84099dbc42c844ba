"""The notebooks run from top to bottom, by public names alone, and lie here empty."""

import ast
import os
import pathlib
import re

import pytest

import sas_jax
from sas_jax.errors import WeightsMissing
from sas_jax.text import minilm_files

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
SMALL = {
    "quickstart": {"room": "frames_per_room=6, spacing_m=0.08"},
    "own_scan": {"settings": 'SCAN, TEACHERS, FRAMES = None, ["imagenet"], 4'},
    "own_teacher": {
        "settings": "TRAIN_ROOMS, TEST_ROOMS, FRAMES, STEPS, IMAGES = 1, 1, 6, 3, 1"
    },
    "ablation": {"settings": "TRAIN_ROOMS, TEST_ROOMS, FRAMES, EPOCHS = 1, 1, 6, 1"},
    "sweep": {
        "settings": "TRAIN_ROOMS, VAL_ROOMS, FRAMES, EPOCHS, SEEDS = 1, 1, 6, 1, [0]"
    },
}
"""Notebook -> tag of a cell -> what its settings are in a small world."""


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_of(name):
    """Return the Python of a notebook; what a shell or IPython is told is left out."""
    cells = [c.source for c in read(name).cells if c.cell_type == "code"]
    plain = (c for c in cells if not c.startswith("%%"))
    return "\n".join(re.sub(r"^\s*[%!].*", "", c, flags=re.M) for c in plain)


def test_they_are_the_five():
    assert NAMES == ["ablation", "own_scan", "own_teacher", "quickstart", "sweep"]


@pytest.mark.parametrize("name", NAMES)
def test_it_lies_here_without_outputs(name):
    for cell in read(name).cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_a_badge_and_the_install(name):
    first, install = read(name).cells[:2]
    assert f"blob/main/notebooks/{name}.ipynb)" in first.source
    assert install.source == read("quickstart").cells[1].source


@pytest.mark.parametrize("name", NAMES)
def test_it_uses_the_public_verbs_alone(name):
    tree = ast.parse(code_of(name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), node.attr
            if isinstance(node.value, ast.Name) and node.value.id == "sas_jax":
                assert node.attr in sas_jax.__all__, node.attr
            continue
        else:
            continue
        for module in modules:
            inner = module.startswith("sas_jax.") or module == "experiments"
            assert (
                not inner
                and not (pathlib.Path("experiments") / f"{module}.py").exists()
            )


def run(name, folder, monkeypatch):
    """Run a notebook in a small world; return its cells."""
    pytest.importorskip("torch")
    pytest.importorskip("ipykernel")
    pytest.importorskip("embreex")
    try:
        minilm_files.model_folder()
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("SAS_JAX_TEACHERS", "")
    notebook = read(name)
    replaced = set()
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            cell.source = smaller(cell.source, SMALL[name][tag])
            replaced.add(tag)
    assert replaced == set(SMALL[name])
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=250, resources=resources)
    client.execute()
    return notebook.cells


def smaller(source, settings):
    """Return a cell with other settings: a whole line, or arguments by their names."""
    if source.startswith(settings.partition("=")[0].rstrip()):
        return settings
    for setting in settings.split(", "):
        name = setting.partition("=")[0]
        source, count = re.subn(rf"\b{name}=[\w.]+", setting, source)
        assert count == 1, name
    return source


def pictures(cells):
    """Return how many pictures the cells show."""
    outputs = [o for c in cells if c.cell_type == "code" for o in c.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def said(cells):
    """Return what the cells print."""
    outputs = [o for c in cells if c.cell_type == "code" for o in c.outputs]
    return "".join(output.get("text", "") for output in outputs)


def test_quickstart_runs(tmp_path, monkeypatch):
    cells = run("quickstart", tmp_path, monkeypatch)
    assert pictures(cells) == 7
    for row in ("student: ", "rooms-dense ", "fused "):
        assert re.search(rf"{row}\s*[\d.]+ mIoU", said(cells))


def test_ablation_runs(tmp_path, monkeypatch):
    cells = run("ablation", tmp_path, monkeypatch)
    assert pictures(cells) == 3
    rows = re.findall(r"^(.+?) +[\d.]+ mIoU$", said(cells), re.M)
    assert len(rows) == len(set(rows)) == 10
    assert os.listdir(tmp_path / "students")


@pytest.mark.slow
def test_own_scan_runs(tmp_path, monkeypatch):
    cells = run("own_scan", tmp_path, monkeypatch)
    assert pictures(cells) == 5
    assert "4 images, skipped: none" in said(cells)
    assert (tmp_path / "answer.ply").stat().st_size > 10_000


@pytest.mark.slow
def test_own_teacher_runs(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    cells = run("own_teacher", tmp_path, monkeypatch)
    assert pictures(cells) == 2
    rows = re.findall(r"^(.+?) +[\d.]+ mIoU$", said(cells), re.M)
    assert len(rows) == 7 and rows[2] == "mine"
    assert "mine" in os.listdir(tmp_path / "run" / "features")


@pytest.mark.slow
def test_sweep_runs(tmp_path, monkeypatch):
    cells = run("sweep", tmp_path, monkeypatch)
    assert pictures(cells) == 2
    assert "3 trials, 2 of them done" in said(cells)
    rows = re.findall(r"^learning_rate=([\d.]+) +[\d.]+ ± -$", said(cells), re.M)
    assert sorted(rows) == ["0.0005", "0.005", "0.05"]
