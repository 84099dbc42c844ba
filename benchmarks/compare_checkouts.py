"""Tell whether two checkouts compute the same numbers, bit for bit.

  python benchmarks/compare_checkouts.py OLD NEW --work=build/compare -- --num_train=10

Runs the pipeline of each checkout on procedural rooms with a short training (200 steps
unless the flags after `--` say otherwise) into folders of its own, then compares
everything that is a number: features, superpoints, capability, fused features,
confusion matrices, and the parameters and statistics of the student. A killed run goes
on where it stopped; runs that are finished are only compared. A checkout from before
rooms_scratch.flags needs --old_flagfile=rooms.flags, and packages of its own on
PYTHONPATH.

Exit status 1 when anything differs. Numbers are compared, not files: manifests, keys
and names of formats may change.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
from safetensors.numpy import load_file

# Ten rooms twenty times are 200 steps, the last ones on the student's own labels.
ROOMS = ["--num_train=10", "--num_val=1", "--num_test=3", "--epochs=20",
         "--checkpoint_epochs=20", "--images_per_class=2"]  # fmt: skip
STUDENT = ["--students=full", "--student_seeds=0", "--seed=0"]
# Run by each checkout's own interpreter path, since checkpoints are its own format.
DUMP = """
import sys, jax, numpy as np
from sas_jax.distill.checkpoint import load_student
student = load_student(sys.argv[1])
leaves = jax.tree_util.tree_leaves_with_path(student.variables)
np.savez(sys.argv[2], **{jax.tree_util.keystr(p): np.asarray(a) for p, a in leaves})
"""
# Folder of the workspace -> the tensors that are numbers of the method.
TENSORS = {
    "features": ("feat",),
    "fused": ("feat",),
    "superpoints": ("superpoint", "superpoints"),
}


def main() -> None:
    options = _options()
    runs = []
    for name, checkout, flagfile in (
        ("old", options.old, options.old_flagfile),
        ("new", options.new, options.new_flagfile),
    ):
        workspace = options.work / name
        _run(checkout.resolve(), workspace.resolve(), flagfile, options.flags)
        runs.append(_numbers(workspace))
    sys.exit(0 if _compare(*runs) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=pathlib.Path, help="checkout")
    parser.add_argument("new", type=pathlib.Path, help="checkout")
    parser.add_argument("--work", type=pathlib.Path, default="build/compare")
    parser.add_argument("--old_flagfile", default="rooms_scratch.flags")
    parser.add_argument("--new_flagfile", default="rooms_scratch.flags")
    parser.add_argument("flags", nargs="*", help="for the pipelines of both")
    return parser.parse_args()


def _run(
    checkout: pathlib.Path, workspace: pathlib.Path, flagfile: str, more: list[str]
) -> None:
    """Run all stages of a checkout, and write its student's arrays to student.npz."""
    flags = [f"--flagfile={flagfile}", f"--data_root={workspace / 'data'}",
             f"--workspace={workspace}", *ROOMS, *STUDENT, *more]  # fmt: skip
    paths = [str(checkout), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_PLATFORMS": "cpu",
    }

    def call(*arguments: str) -> None:
        command = [sys.executable, *arguments]
        subprocess.run(command, cwd=checkout, env=environment, check=True)

    call("experiments/pipeline.py", *flags)
    run = workspace / "train" / "full-seed0" / "checkpoints"
    call("-c", DUMP, str(run), str(workspace / "student.npz"))


def _numbers(workspace: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    """Return all numbers of a workspace: kind -> name -> array."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for kind, tensors in TENSORS.items():
        found[kind] = {
            str(path.relative_to(workspace)): array
            for path in sorted((workspace / kind).rglob("*.safetensors"))
            for name, array in load_file(path).items()
            if name in tensors
        }
    found["capability"] = {
        path.name: _miou(json.loads(path.read_text())["data"])
        for path in sorted((workspace / "capability").glob("rooms-*.json"))
    }
    found["confusion"] = {
        f"{path.relative_to(workspace)}: {scene}": np.array(counts, float)
        for path in sorted((workspace / "eval").rglob("*.json"))
        for scene, counts in json.loads(path.read_text())["data"]["counts"].items()
    }
    with np.load(workspace / "student.npz") as archive:
        found["student"] = {name: archive[name] for name in archive.files}
    return found


def _miou(table: dict) -> np.ndarray:
    """Return mean IoU by class, NaN where it was not measured."""
    miou, classes = table["miou"], table["classes"]
    if isinstance(miou, dict):  # schema 1
        return np.array([miou.get(name, np.nan) for name in classes], float)
    return np.where(table["measured"], np.array(miou, float), np.nan)


def _compare(old: dict, new: dict) -> bool:
    """Print a line per kind; tell whether all is equal."""
    equal = True
    print(f"{'numbers':<12}{'arrays':>8}{'equal':>8}{'most apart':>12}")
    for kind in old:
        names = sorted(old[kind].keys() | new[kind].keys())
        pairs = [(old[kind].get(name), new[kind].get(name)) for name in names]
        same = [
            a is not None and b is not None and np.array_equal(a, b, equal_nan=True)
            for a, b in pairs
        ]
        apart = [_apart(a, b) for (a, b), s in zip(pairs, same, strict=True) if not s]
        print(
            f"{kind:<12}{len(names):>8}{sum(same):>8}{max(apart, default=0.0):>20.3g}"
        )
        for name, s in zip(names, same, strict=True):
            if not s:
                print(f"  differs: {name}")
        equal = equal and all(same) and bool(names)
    return equal


def _apart(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """Return the largest difference, infinite for an absent or other shape."""
    if a is None or b is None or a.shape != b.shape:
        return float("inf")
    return float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)), initial=0))


if __name__ == "__main__":
    main()
