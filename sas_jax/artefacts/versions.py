"""Which code and libraries decide the numbers of a stage, as part of its content keys.

A module says `VERSION = 1` and raises it whenever its numbers change; a package says so
for all of its modules that do not. `VERSION = 0` marks what decides no numbers. What
counts for a stage follows from its imports, so that nothing can be left out: a test
walks the same imports, finds modules without a version, and compares their code with a
record (`make versions`).

Libraries are found the same way. Those below change numbers from release to release;
numpy, scipy and Pillow are left out: what is used of them is exact (sums in a fixed
order, integer filters) or stands in a key by value (text features).
"""

import ast
import functools
import importlib.metadata
import pathlib
import re

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_PACKAGE = "sas_jax"
_VERSION = re.compile(r"^VERSION = (\d+)$", re.MULTILINE)
# Read by hand: parsing all that a student needs takes a third of a second.
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|.*)"
    r"|import[ \t]+(.*))",
    re.MULTILINE,
)

LIBRARIES: dict[str, tuple[tuple[str, ...], int]] = {
    # Convolutions and attention choose other algorithms in every minor release.
    "torch": (("torch",), 2),
    # Whole models and their image processors: SAM, text towers of the teachers.
    "transformers": (("transformers",), 2),
    # Samplers and schedulers of synthesizers.
    "diffusers": (("diffusers",), 2),
    # Resizing, colour spaces and GrabCut.
    "cv2": (
        (
            "opencv-python-headless",
            "opencv-python",
            "opencv-contrib-python-headless",
            "opencv-contrib-python",
        ),
        2,
    ),
    # Its lexicon decides which words of a caption stay.
    "textblob": (("textblob",), 2),
    # Every release, the third number too, compiles with another XLA.
    "jax": (("jaxlib",), 3),
    # Where a ray hits decides what a rendered frame shows.
    "embreex": (("embreex",), 3),
}
"""Module -> packages that bring it, and how many numbers of the version count."""


@functools.cache
def decided_by(*entries: str) -> dict[str, dict[str, int | str]]:
    """Return the versions of all that decides what some modules compute.

    Args:
      entries: modules where a stage begins, e.g. `sas_jax.fusion.stage`, and those of
        the models that it is run with (see `module_of`); others than this package's
        say nothing here, their `spec` has to.

    Returns:
      `code`: module or package -> its VERSION; `libraries`: package -> version.
    """
    modules = closure(*entries)
    stated = (version_of(name) for name in modules if has_code(name))
    code = dict(pair for pair in stated if pair)
    imported = {name for module in modules for name in imports_of(module)}
    used = sorted({name.partition(".")[0] for name in imported} & set(LIBRARIES))
    libraries: dict[str, int | str] = dict(_library(name) for name in used)
    return {"code": dict(sorted(code.items())), "libraries": libraries}


def module_of(model: object) -> str:
    """Return the module that an object's class is defined in."""
    return type(model).__module__


@functools.cache
def closure(*entries: str) -> tuple[str, ...]:
    """Return this package's modules that some modules import, themselves included.

    What `VERSION = 0` marks is left out, with what only it imports.
    """
    seen, todo = set(), [name for name in entries if path_of(name)]
    while todo:
        name = todo.pop()
        stated = version_of(name)
        nothing = name == _PACKAGE or (stated is not None and stated[1] == 0)
        if name not in seen and not nothing:
            seen.add(name)
            todo += [other for other in imports_of(name) if path_of(other)]
    return tuple(sorted(seen))


def version_of(name: str) -> tuple[str, int] | None:
    """Return who states the version of a module, itself or a package, and the version.

    None where nobody does.
    """
    while name and name != _PACKAGE:
        version = _stated(name)
        if version is not None:
            return name, version
        name = name.rpartition(".")[0]
    return None


def has_code(name: str) -> bool:
    """Tell whether a module is more than the docstring and version of a package."""
    if _file(name).name != "__init__.py":
        return True
    body = ast.parse(_VERSION.sub("", _text(name))).body
    return any(
        not isinstance(getattr(node, "value", None), ast.Constant) for node in body
    )


@functools.cache
def path_of(name: str) -> pathlib.Path | None:
    """Return the file of a module of this package, None for anything else."""
    if name.partition(".")[0] != _PACKAGE:
        return None
    stem = _ROOT.joinpath(*name.split("."))
    for path in (stem / "__init__.py", stem.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _file(name: str) -> pathlib.Path:
    path = path_of(name)
    assert path is not None, name  # of modules of this package alone
    return path


@functools.cache
def _text(name: str) -> str:
    return _file(name).read_text(encoding="utf-8")


@functools.cache
def _stated(name: str) -> int | None:
    found = _VERSION.search(_text(name)) if path_of(name) else None
    return int(found[1]) if found else None


@functools.cache
def imports_of(name: str) -> frozenset[str]:
    """Return what a module imports, anywhere in it, with the packages around that."""
    found: set[str] = set()
    for package, names, modules in _IMPORT.findall(_text(name)):
        plain = re.sub(r"#.*|[()\\\n]", "", names or modules).split(",")
        parts = [part.split()[0] for part in plain if part.strip()]
        # What comes from a package may be one of its modules.
        found |= {f"{package}.{part}" for part in parts} if package else set(parts)
    around = {
        name.rsplit(".", count)[0] for name in found for count in range(name.count("."))
    }
    return frozenset(found | around)


def _library(module: str) -> tuple[str, str]:
    packages, numbers = LIBRARIES[module]
    for package in packages:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        return packages[0], ".".join(version.partition("+")[0].split(".")[:numbers])
    return packages[0], "absent"
