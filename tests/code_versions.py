"""The record of the code whose numbers stand in content keys.

    make versions                      # after VERSION was raised, or for new modules
    make versions SAME_NUMBERS=1       # the code changed, its numbers did not

`code_versions.json` holds, for every module that decides numbers of a stage, its
version and a hash of its code. A test compares: code that changed under the same
version is either one whose numbers changed, which needs a higher VERSION so that what
was made with it is made again, or one whose numbers did not, which is said here.
"""

import ast
import hashlib
import json
import pathlib
import re
import sys

from sas_jax.artefacts import versions
from sas_jax.capability import registry as capability
from sas_jax.datasets import registry as datasets
from sas_jax.teachers import registry as models
from sas_jax.text import registry as towers


def _modules(*tables: dict[str, str]) -> tuple[str, ...]:
    """Return the modules of the loaders in some tables of a registry."""
    return tuple(loader.split(":")[0] for table in tables for loader in table.values())


ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = pathlib.Path(__file__).with_suffix(".json")
STAGES = {
    "rooms": ("sas_jax.rooms.scan.scene",),
    "scans": tuple(place.partition(":")[0] for place in datasets.DATASETS.values()),
    "features": ("sas_jax.lifting.extract",),
    "teachers": tuple(row.loader.partition(":")[0] for row in models.ENTRIES.values()),
    "capability": ("sas_jax.capability.run", "sas_jax.capability.measure"),
    "synthesizers": _modules(capability.SYNTHESIZERS, capability.PROMPTERS),
    "quality": _modules(capability.JUDGES),
    "superpoints": ("sas_jax.superpoints.stage",),
    "fusion": ("sas_jax.fusion.stage",),
    "training": ("sas_jax.distill.train",),
    "students": ("sas_jax.models.student",),
    "scores": tuple(
        f"sas_jax.evaluation.{part}" for part in ("protocol", "semantic", "passes")
    ),
    "instances": ("sas_jax.instances.ap", "sas_jax.instances.postprocess"),
    "splats": ("sas_jax.gaussians.train", "sas_jax.gaussians.score"),
    "texts": _modules(towers.TOWERS),
}
"""Stage -> the modules that its keys begin with."""

_KERNELS = ("sas_jax.sparse", "sas_jax.superpoints")
_CLASS_LISTS = ("sas_jax.scenes", "sas_jax.rooms.teachers")
"""Who reads lists by name; elsewhere the names stand in a key by value."""
_C_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\])*")', re.DOTALL)


def modules() -> list[str]:
    """Return all modules that decide numbers of a stage."""
    found = {m for entries in STAGES.values() for m in versions.closure(*entries)}
    return sorted(name for name in found if versions.has_code(name))


def current() -> dict[str, list]:
    """Return version and hash of every module, of class lists and of the kernels."""
    record: dict[str, list] = {}
    for name in modules():
        _, version = versions.version_of(name) or ("", None)
        record[name] = [version, code_hash(versions.path_of(name).read_text())]
    record["class lists"] = [_stated(_CLASS_LISTS), class_lists_hash()]
    record["kernels"] = [_stated(_KERNELS), kernels_hash()]
    return record


def _stated(names: tuple[str, ...]) -> list[int]:
    return [versions.version_of(name)[1] for name in names]


def code_hash(text: str, data_folder: pathlib.Path = ROOT / "sas_jax") -> str:
    """Return a hash of all of a module that can decide a number.

    Left out are comments, docstrings, annotations, imports (what is imported counts by
    itself), VERSION and what is raised. Data files of the package that are named count.
    """
    tree = _Plain().visit(ast.parse(text))
    digest = hashlib.blake2b(_dump(tree).encode(), digest_size=8)
    for node in ast.walk(tree):
        value = getattr(node, "value", None)
        if isinstance(node, ast.Constant) and str(value).endswith((".json", ".txt")):
            for path in sorted(data_folder.rglob(pathlib.Path(value).name)):
                digest.update(path.read_bytes())
    return digest.hexdigest()


def class_lists_hash() -> str:
    """Return a hash of all lists of classes and what belongs to each class."""
    lists = json.loads((ROOT / "sas_jax" / "class_lists.json").read_text())["lists"]
    text = json.dumps(lists, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def kernels_hash() -> str:
    """Return a hash of the native code without comments and white space."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in ("cpu", "cuda", "ffi", "include"):
        for path in sorted((ROOT / "kernels" / folder).iterdir()):
            plain = _C_COMMENT.sub(lambda m: m[1] or " ", path.read_text())
            digest.update("".join(plain.split()).encode())
    return digest.hexdigest()


class _Plain(ast.NodeTransformer):
    """Drop what decides no number."""

    def visit_Import(self, node):
        return None

    def visit_ImportFrom(self, node):
        return None

    def visit_Raise(self, node):
        return ast.Raise()

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Assign(self, node):
        is_version = [getattr(t, "id", None) for t in node.targets] == ["VERSION"]
        return None if is_version else self.generic_visit(node)

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Constant):  # a docstring, or one of a value
            return None
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.generic_visit(node)


def _dump(node: object) -> str:
    """Return a tree as text that is the same for every version of Python."""
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node)]
    kept = [f"{n}={_dump(v)}" for n, v in fields if v is not None and v != []]
    return f"{type(node).__name__}({','.join(kept)})"


def read() -> dict[str, list]:
    """Return the record."""
    return json.loads(RECORD.read_text())


def changed(old: dict[str, list], new: dict[str, list]) -> list[str]:
    """Return the modules whose code changed under the same version."""
    return [n for n in new if n in old and old[n] != new[n] and old[n][0] == new[n][0]]


def main() -> None:
    old, new = read() if RECORD.exists() else {}, current()
    without = [name for name, (version, _) in new.items() if version is None]
    same = changed(old, new) if "--same_numbers" not in sys.argv[1:] else []
    if without or same:
        sys.exit(
            "\n".join(
                [
                    *(
                        f"{name}: no VERSION; 0 says it decides none"
                        for name in without
                    ),
                    *(f"{name}: other code, the same VERSION" for name in same),
                    "Raise VERSION where numbers change. Where they do not: make "
                    "versions SAME_NUMBERS=1",
                ]
            )
        )
    lines = (f"{json.dumps(name)}: {json.dumps(new[name])}" for name in sorted(new))
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{RECORD.name}: {len(new)} modules")


if __name__ == "__main__":
    main()
