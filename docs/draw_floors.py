"""Draw the floors of the library from its imports, to docs/floors.svg.

  python docs/draw_floors.py

A box is a package (or a module beside them) with its lines of code; an arrow leads to
what it imports. Arrows that follow from others are left out. A test compares the
picture with the sources, and fails on an import upwards and on a circle.
"""

import ast
import collections
import pathlib
import sys
from collections.abc import Iterable, Mapping

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURE = pathlib.Path(__file__).with_name("floors.svg")

FLOORS = (
    (
        *("errors", "checks", "extras", "stages", "memory", "native_library"),
        *("native_call", "registry", "classes", "artefacts", "text", "weights"),
    ),
    ("scenes", "sparse", "models"),
    ("datasets", "superpoints", "view", "teachers"),
    ("lifting", "fusion"),
    ("distill", "evaluation", "gaussians", "instances", "sweeps"),
    ("capability", "api"),
    ("rooms",),
)
"""From the ground up; a package may import its own floor and those below.

The rooms are a guest: on top, so that nothing imports them; registries name them.
"""

_WIDTH, _HEIGHT, _ROW, _GAP, _EDGE = 116, 44, 96, 22, 24


def graph(folder: pathlib.Path) -> dict[str, set[str]]:
    """Return module -> modules that it imports, anywhere in it."""
    paths = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        paths[".".join(p for p in parts if p != "__init__")] = path
    return {name: _imports(path, paths) for name, path in paths.items()}


def packages(modules: Mapping[str, set[str]], top: str) -> dict[str, dict[str, str]]:
    """Return package -> {package that it imports: a pair of modules that do}."""
    found: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for name, others in modules.items():
        for other in sorted(others - {top}):
            if name != top and package(name) != package(other):
                found[package(name)].setdefault(package(other), f"{name} -> {other}")
    return found


def package(module: str) -> str:
    """Return the second part of a module's name."""
    return module.split(".")[1]


def circle(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names along one circle, the first one twice; [] if there is none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
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


def upward(edges: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the imports that lead to a higher floor, in words."""
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    return [
        f"{pair} (floor {floor[one]} -> {floor[other]})"
        for one, others in edges.items()
        for other, pair in others.items()
        if floor[other] > floor[one]
    ]


def draw(folder: pathlib.Path) -> str:
    """Return the picture of a package's sources as SVG."""
    edges = _needed(packages(graph(folder), folder.name))
    widest = max(len(names) for names in FLOORS)
    width = widest * (_WIDTH + _GAP) - _GAP + 2 * _EDGE
    height = len(FLOORS) * _ROW + _EDGE
    places = {
        name: (
            (2 * i + 1) * width // (2 * len(names)) - _WIDTH // 2,
            height - (f + 1) * _ROW,
        )
        for f, names in enumerate(FLOORS)
        for i, name in enumerate(names)
    }
    arrows = [
        _arrow(places[one], places[other])
        for one in sorted(edges)
        for other in sorted(edges[one])
    ]
    boxes = [_box(name, *places[name], _lines(folder, name)) for name in places]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="#7a8794"/>'
        '</marker></defs><rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, *arrows, *boxes, "</svg>", ""])


def _imports(path: pathlib.Path, known: Mapping[str, pathlib.Path]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in inner}
    return found & set(known)


def _needed(edges: Mapping[str, Mapping[str, str]]) -> dict[str, set[str]]:
    """Return the edges that do not follow from others."""

    def below(name: str) -> set[str]:
        return set().union(*({o} | below(o) for o in edges.get(name, ())), set())

    return {
        one: {
            other
            for other in others
            if not any(other in below(via) for via in others if via != other)
        }
        for one, others in edges.items()
    }


def _lines(folder: pathlib.Path, name: str) -> int:
    path = folder / f"{name}.py"
    files = [path] if path.exists() else sorted((folder / name).rglob("*.py"))
    # In steps, so that the picture does not change with every line.
    count = sum(len(file.read_text().splitlines()) for file in files)
    return max(100, round(count / 100) * 100)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return a curve from the lower edge of a box to the upper edge of another."""
    x1, y1 = start[0] + _WIDTH // 2, start[1] + _HEIGHT
    x2, y2 = end[0] + _WIDTH // 2, end[1]
    style = 'fill="none" stroke="#7a8794" marker-end="url(#tip)"'
    if start[1] == end[1]:  # one floor: under the boxes
        low = y1 + 18
        return f'<path d="M{x1} {y1}C{x1} {low} {x2} {low} {x2} {y1 + 2}" {style}/>'
    bend = (y2 - y1) // 2
    curve = f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2 - 2}"
    return f'<path d="{curve}" {style}/>'


def _box(name: str, x: int, y: int, lines: int) -> str:
    fill = "#fdf1dc" if name == "rooms" else "#e8f0f8"
    middle = x + _WIDTH // 2
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="#5b6b7b"/>'
        f'<text x="{middle}" y="{y + 20}" text-anchor="middle" font-size="13">{name}'
        f'</text><text x="{middle}" y="{y + 36}" text-anchor="middle" font-size="10" '
        f'fill="#5b6b7b">{lines:,} lines</text>'
    )


if __name__ == "__main__":
    edges = packages(graph(ROOT / "sas_jax"), "sas_jax")
    if wrong := upward(edges) or circle(edges):
        sys.exit(f"imports upwards or in a circle: {', '.join(wrong)}")
    PICTURE.write_text(draw(ROOT / "sas_jax"))
    print(PICTURE)
