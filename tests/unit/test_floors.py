"""Packages stand on floors: nothing imports upwards, and nothing in a circle."""

import importlib.util
import re

import pytest

_LINES = re.compile(r"([\d,]+) lines")


@pytest.fixture(scope="module")
def floors(root):
    """The script that draws the imports."""
    path = root / "docs" / "draw_floors.py"
    spec = importlib.util.spec_from_file_location("draw_floors", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def modules(root, floors):
    return floors.graph(root / "sas_jax")


def test_every_package_has_a_floor(modules, floors):
    found = {floors.package(name) for name in modules if "." in name}
    assert found == {name for names in floors.FLOORS for name in names}


def test_nothing_is_imported_from_a_higher_floor(modules, floors):
    assert floors.upward(floors.packages(modules, "sas_jax")) == []


def test_packages_import_each_other_in_no_circle(modules, floors):
    assert floors.circle(floors.packages(modules, "sas_jax")) == []


def test_modules_import_each_other_in_no_circle(modules, floors):
    assert floors.circle(modules) == []


def test_what_is_forbidden_is_found_and_named(tmp_path, floors):
    texts = {
        "errors.py": "",
        "capability/run.py": "from sas_jax.errors import X\nfrom sas_jax import rooms",
        "capability/masks.py": "def f():\n    from sas_jax.capability import run",
        "rooms/__init__.py": "",
        "rooms/painter.py": "if TYPE_CHECKING:\n    import sas_jax.capability.masks",
        "__init__.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / "sas_jax" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    edges = floors.packages(floors.graph(tmp_path / "sas_jax"), "sas_jax")
    assert floors.upward(edges) == [
        "sas_jax.capability.run -> sas_jax.rooms (floor 5 -> 6)"
    ]
    assert floors.circle(edges) == ["capability", "rooms", "capability"]
    assert floors.circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_the_picture_is_that_of_the_sources(root, floors):
    drawn = floors.draw(root / "sas_jax")
    kept = floors.PICTURE.read_text()
    remedy = "Run: python docs/draw_floors.py"
    assert _LINES.sub("", kept) == _LINES.sub("", drawn), remedy
    # Sizes are there to be compared by eye: a line more or less is no other picture.
    sizes = [
        [int(n.replace(",", "")) for n in _LINES.findall(text)]
        for text in (kept, drawn)
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.25, abs=100), remedy
