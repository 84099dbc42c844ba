"""Versions of code and libraries in keys: nothing that decides numbers is left out."""

import ast
import json
from types import SimpleNamespace

import code_versions
import pytest
from text_spaces import space

from sas_jax.artefacts import versions
from sas_jax.lifting import extract
from sas_jax.lifting.config import ExtractConfig
from sas_jax.teachers.contracts import TeacherSpec


def test_every_module_that_decides_numbers_has_a_version_and_is_recorded():
    recorded, now = code_versions.read(), code_versions.current()
    without = [name for name, (version, _) in now.items() if version is None]
    assert not without, "VERSION = 1, or 0 for what decides no numbers, is required"
    same = code_versions.changed(recorded, now)
    assert not same, (
        "the code changed under the same VERSION: raise it, or, where the numbers did "
        "not change, run: make versions SAME_NUMBERS=1"
    )
    assert recorded == now, "run: make versions"


def test_imports_are_found_as_python_finds_them():
    """The walk reads imports by a pattern; here, all of them by the syntax tree."""
    folder = code_versions.ROOT / "sas_jax"
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(code_versions.ROOT).with_suffix("").parts
        name = ".".join(p for p in parts if p != "__init__")
        wanted = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                wanted |= {f"{node.module}.{alias.name}" for alias in node.names}
        found = versions.imports_of(name)
        top = {*versions.LIBRARIES, "sas_jax"}
        assert {w for w in wanted if w.partition(".")[0] in top} <= found, name
        modules = {w for w in found if versions.path_of(w)}
        around = {w.rsplit(".", i)[0] for w in wanted for i in range(w.count("."))}
        assert modules <= around | wanted, name


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("features", ["lifting.align", "lifting.project", "lifting.lift"]),
        ("features", ["artefacts.features", "scenes.scene", "text.prompts"]),
        ("scans", ["datasets.scannet", "scenes.frames", "scenes.images", "scenes.ply"]),
        ("superpoints", ["superpoints.graph", "superpoints.native", "scenes.cloud"]),
        ("capability", ["capability.prompt_masks", "capability.measure"]),
        ("students", ["models.minkunet", "sparse.voxelize", "sparse.xla.conv"]),
        ("rooms", ["rooms.scan.sensor", "rooms.render.shade", "rooms.catalogue.beds"]),
        ("teachers", ["rooms.teachers.nets", "teachers.text", "text.minilm_files"]),
    ],
)
def test_what_a_stage_is_known_to_need_is_found(stage, names):
    found = versions.closure(*code_versions.STAGES[stage])
    assert {f"sas_jax.{name}" for name in names} <= set(found)


def test_libraries_are_those_that_the_code_imports():
    def libraries(stage):
        return set(versions.decided_by(*code_versions.STAGES[stage])["libraries"])

    painters = {"torch", "diffusers", "opencv-python-headless"}
    assert libraries("teachers") == painters | {"transformers", "textblob"}
    assert painters <= libraries("synthesizers")
    assert libraries("students") == {"jaxlib"}
    assert libraries("rooms") == {"embreex"}
    assert libraries("fusion") == libraries("superpoints") == set()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write modules of a package of the same name; forget what was read before."""
    caches = [f for f in vars(versions).values() if hasattr(f, "cache_clear")]
    monkeypatch.setattr(versions, "_ROOT", tmp_path)

    def write(name, text):
        path = tmp_path / "sas_jax" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
        for function in caches:
            function.cache_clear()

    yield write
    monkeypatch.undo()
    for function in caches:
        function.cache_clear()


def test_a_version_counts_wherever_it_is_imported(package):
    package("a", "import sas_jax.b\nVERSION = 1\n")
    package(
        "b", "VERSION = 1\ndef f():\n    from sas_jax.p.c import x\n    import cv2\n"
    )
    package("p/c", "from sas_jax import (\n    d,  # why\n    absent as e,\n)\n")
    package("d", '"""A module."""\nVERSION = 4\n')
    package("p/__init__", '"""A package."""\n\nVERSION = 7\n')
    found = versions.decided_by("sas_jax.a")
    assert found["code"] == {
        "sas_jax.a": 1,
        "sas_jax.b": 1,
        "sas_jax.p": 7,
        "sas_jax.d": 4,
    }
    assert set(found["libraries"]) == {"opencv-python-headless"}
    package("d", "VERSION = 5\n")
    assert versions.decided_by("sas_jax.a")["code"]["sas_jax.d"] == 5
    package("p/c", "VERSION = 2\n")
    assert versions.decided_by("sas_jax.a")["code"] == {
        **{"sas_jax.a": 1, "sas_jax.b": 1},
        "sas_jax.p.c": 2,
    }


def test_what_decides_nothing_ends_the_walk(package):
    package("a", "VERSION = 1\nfrom sas_jax.b import f\n")
    package("b", "VERSION = 0\nimport torch\nimport sas_jax.c\n")
    package("c", "")
    assert versions.decided_by("sas_jax.a") == {
        "code": {"sas_jax.a": 1},
        "libraries": {},
    }


def test_a_module_without_a_version_is_seen(package):
    package("a", "VERSION = 1\nimport sas_jax.b\n")
    package("b", "x = 1\n")
    (without,) = [
        name for name in versions.closure("sas_jax.a") if not versions.version_of(name)
    ]
    assert without == "sas_jax.b"


def test_models_from_elsewhere_say_nothing_here():
    assert versions.decided_by("own_teacher", "numpy") == {"code": {}, "libraries": {}}


SOURCE = '''
"""Docstring."""
import math
VERSION = 1
def f(x: int, y: float = 2.0) -> float:
    """Say what."""
    z: float = x * y  # why
    if z < 0:
        raise ValueError(f"z must be positive, got {z}")
    return z
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Say what.", "Say more.", True),
        ("  # why", "", True),
        ("import math", "import numpy as np", True),
        ("VERSION = 1", "VERSION = 2", True),
        ("x: int", "x: str", True),
        ("z must be", "z has to be", True),
        ("2.0", "2.5", False),
        ("x * y", "x + y", False),
        ("z < 0", "z <= 0", False),
        ("def f", "def g", False),
    ],
)
def test_a_hash_follows_what_can_decide_a_number(old, new, same):
    assert old in SOURCE
    changed = code_versions.code_hash(SOURCE.replace(old, new))
    assert (changed == code_versions.code_hash(SOURCE)) is same


def test_a_hash_follows_the_data_files_that_are_named(tmp_path):
    text = 'words = files("sas_jax.text") / "words.json"\n'
    hashes = []
    for words in ("[1]", "[2]"):
        (tmp_path / "words.json").write_text(words)
        hashes.append(code_versions.code_hash(text, tmp_path))
    assert hashes[0] != hashes[1]


def test_the_record_is_plain_and_complete():
    record = json.loads(code_versions.RECORD.read_text())
    assert record["kernels"][1] == code_versions.kernels_hash()
    assert record["class lists"][1] == code_versions.class_lists_hash()
    assert code_versions.changed({"m": [1, "a"]}, {"m": [1, "b"]}) == ["m"]
    assert code_versions.changed({"m": [1, "a"]}, {"m": [2, "b"], "n": [1, "c"]}) == []


def test_the_key_of_features_holds_the_versions(monkeypatch):
    spec = TeacherSpec("t", "mask", space(3), 3, "none", {})
    teacher, captioner = SimpleNamespace(spec=spec), SimpleNamespace(id="c")

    def key(captioner=None):
        config = ExtractConfig()
        return extract.extraction_key("scene", teacher, config, captioner)

    keys, asked = [key(), key(captioner)], []

    def other(*entries):
        asked.append(entries)
        return {"code": {"sas_jax.lifting": 99}, "libraries": {}}

    monkeypatch.setattr(extract, "decided_by", other)
    keys += [key(), key(captioner)]
    assert len(set(keys)) == 4
    assert asked == [("sas_jax.lifting.extract",) + ("types",) * n for n in (1, 2)]
