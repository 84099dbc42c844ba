"""Packages stand on floors: nothing imports upwards, and nothing in a circle."""

import ast
import collections

import pytest

FLOORS = (
    (
        *("errors", "checks", "extras", "stages", "memory", "native_library"),
        *("registry", "artefacts", "text"),
    ),
    ("scenes", "sparse", "models"),
    ("datasets", "superpoints", "view", "teachers"),
    ("lifting", "fusion"),
    ("distill", "evaluate"),
    ("capability", "api"),
    ("rooms",),
)
"""From the ground up; a package may import its own floor and those below.

The rooms are a guest: on top, so that nothing imports them; registries name them.
"""


def graph(folder):
    """Return module -> modules that it imports, anywhere in it."""
    paths = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        paths[".".join(p for p in parts if p != "__init__")] = path
    return {name: _imports(path, paths) for name, path in paths.items()}


def _imports(path, known):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in inner}
    return found & set(known)


def packages(modules, top):
    """Return package -> {package that it imports: a pair of modules that do}."""
    found = collections.defaultdict(dict)
    for name, others in modules.items():
        for other in others - {top}:
            if name != top and _package(name) != _package(other):
                found[_package(name)].setdefault(_package(other), f"{name} -> {other}")
    return found


def _package(module):
    return module.split(".")[1]


def circle(edges):
    """Return the names along one circle, the first one twice; [] if there is none."""
    done = set()

    def walk(node, path):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(edges.get(node, ())):
            if found := walk(other, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(edges) if (found := walk(node, []))), [])


def upward(edges):
    """Return the imports that lead to a higher floor, in words."""
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    return [
        f"{pair} (floor {floor[one]} -> {floor[other]})"
        for one, others in edges.items()
        for other, pair in others.items()
        if floor[other] > floor[one]
    ]


@pytest.fixture(scope="module")
def modules(root):
    return graph(root / "sas_jax")


def test_every_package_has_a_floor(modules):
    found = {_package(name) for name in modules if "." in name}
    assert found == {name for names in FLOORS for name in names}


def test_nothing_is_imported_from_a_higher_floor(modules):
    assert upward(packages(modules, "sas_jax")) == []


def test_packages_import_each_other_in_no_circle(modules):
    assert circle(packages(modules, "sas_jax")) == []


def test_modules_import_each_other_in_no_circle(modules):
    assert circle(modules) == []


def test_what_is_forbidden_is_found_and_named(tmp_path):
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
    edges = packages(graph(tmp_path / "sas_jax"), "sas_jax")
    assert upward(edges) == ["sas_jax.capability.run -> sas_jax.rooms (floor 5 -> 6)"]
    assert circle(edges) == ["capability", "rooms", "capability"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
