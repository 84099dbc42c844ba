"""Time what scripts need to see that a workspace of many scenes is up to date.

    python benchmarks/bench_skip.py [--scenes 1500]

Scenes are tiny, so that they are made in minutes; skipping reads none of them and takes
as long for large ones. Each script runs three times: it makes, skips, and hashes all.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import measure
import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent

_SCRIPTS = {
    "extract_features": ["--teachers=rooms-dense,rooms-mask", "--threads=1"],
    "make_superpoints": [],
    "fuse_features": ["--teachers=rooms-dense,rooms-mask", "--strategy=add"],
    "evaluate": ["--methods=fused/add", "--eval_split=val"],
}
_RUNS = {"made": [], "skipped": [], "verified": ["--verify"]}
_FRAMES = 2
_PLY = """ply
format ascii 1.0
element vertex 4
property float x
property float y
property float z
{more}element face 2
property list uchar int vertex_indices
end_header
{rows}
3 0 1 2
3 0 2 3
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data"
        _write_data(data, args.scenes)
        common = [f"--data_root={data}", f"--workspace={folder}/run", "--splits=val"]
        for script, own in _SCRIPTS.items():
            row = {"what": script, "scenes": args.scenes}
            for name, extra in _RUNS.items():
                row[f"{name}_s"] = round(_seconds(script, [*common, *own, *extra]), 1)
            measure.append("skip", row)


def _write_data(root: pathlib.Path, count: int) -> None:
    """Write one scan of four points in ScanNet's layout and copy it."""
    names = [f"scene{i:04d}_00" for i in range(count)]
    (root / "splits").mkdir(parents=True)
    (root / "splits" / "val.txt").write_text("\n".join(names))
    for name in names:
        folder = root / "scans" / name
        if name == names[0]:
            _write_scan(folder)
        else:
            shutil.copytree(root / "scans" / names[0], folder)
        for path in folder.glob(f"{names[0]}*"):
            path.rename(folder / path.name.replace(names[0], name))


def _write_scan(folder: pathlib.Path) -> None:
    for part in ("color", "depth", "pose", "intrinsic"):
        (folder / part).mkdir(parents=True)
    mesh = folder / f"{folder.name}_vh_clean_2.ply"
    corners = ["-1 -1 2", "1 -1 2", "1 1 2", "-1 1 2"]
    mesh.write_text(_PLY.format(more="", rows="\n".join(corners)))
    labelled = [f"{corner} {label}" for label, corner in enumerate(corners, 1)]
    more = "property ushort label\n"
    mesh.with_suffix(".labels.ply").write_text(
        _PLY.format(more=more, rows="\n".join(labelled))
    )
    for i in range(_FRAMES):
        grey = np.full((48, 64, 3), 100 + i, np.uint8)
        Image.fromarray(grey).save(folder / "color" / f"{i}.jpg")
        depth = np.full((48, 64), 2000, np.uint16)
        Image.fromarray(depth).save(folder / "depth" / f"{i}.png")
        np.savetxt(folder / "pose" / f"{i}.txt", np.eye(4))
    camera = np.eye(4)
    camera[:2, :3] = [[40, 0, 31.5], [0, 40, 23.5]]
    for kind in ("depth", "color"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{kind}.txt", camera)


def _seconds(script: str, flags: list[str]) -> float:
    command = [sys.executable, str(ROOT / "experiments" / f"{script}.py"), *flags]
    began = time.perf_counter()
    subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
