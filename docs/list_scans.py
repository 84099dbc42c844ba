# ruff: noqa: E501  (lines of the page)
"""Write docs/scans.md: the layouts that are read, as their modules describe them.

  python docs/list_scans.py

A test compares the page with the registry.
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = pathlib.Path(__file__).with_name("scans.md")

HEAD = """\
# Scans and data sets that are read

```sh
python experiments/query.py --scene=<scan> --text="a desk"
```

takes any of these; which one it is, is told by what lies there (`--dataset=<name>` where two fit). Nothing else has to be said where the
format itself states units, axes and intrinsics; what is found out (up, unit, scale) is said in a line of the log, and a flag overrides it:

| flag | for |
|---|---|
| `--up=auto\\|x\\|-x\\|y\\|-y\\|z\\|-z\\|camera\\|surfaces` | which way is up in the scan's world |
| `--scale=0.001` | metres per unit of poses, meshes and clouds; COLMAP and instant-ngp have no unit |
| `--units=auto\\|m\\|cm\\|mm\\|inch\\|foot` | the unit of a mesh or cloud |
| `--depth_scale=5000` | units of depth images per metre, where they are not the format's |
| `--pose_convention=opencv\\|opengl\\|inverse\\|inverse-opengl` | poses that the frames contradict |
| `--frame_stride=10` | every tenth frame only |
| `--thin_m=0.02` | one point per voxel of a mesh or cloud that is too large |
| `--max_edge_m=0.02` | how finely a mesh with large triangles is filled with points |

**Intrinsics** of our own and of other formats' text files: 3x3, 3x4 or 4x4, with spaces or commas, in lines or in one; `fx fy cx cy`, maybe
with `w h`; JSON. A comment such as `# 640x480` states the size of the images that they are for. **Lenses** (OpenCV's and fisheye) are taken
out. **Images** may be grey, RGBA, with a palette, of 16 bits, turned by EXIF; images that lie on their side are turned upright for the
teachers. **Depth** is 16-bit PNG, TIFF, `.npy`, `.npz` or `.exr` (`pip install 'sas_jax[exr]'`). Images without depth get that of the mesh or
cloud that comes with them. One bad frame is skipped, counted and named.

A data set's root is given by `--data_root`; its flagfile (`scannet.flags`, `scannetpp.flags`, `matterport.flags`, `nuscenes.flags`,
`replica.flags`) says the rest, and `--dry_run` what is there and what is missing.

A layout of your own is one file and one line: [CONTRIBUTING.md](../CONTRIBUTING.md).
"""


def page() -> str:
    """Return the page."""
    registry = ast.parse((ROOT / "sas_jax/datasets/registry.py").read_text())
    table = next(
        node.value
        for node in registry.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "DATASETS"
    )
    names: dict[str, list[str]] = {}
    for name, place in ast.literal_eval(table).items():
        names.setdefault(place.partition(":")[0], []).append(name)
    parts = [HEAD]
    for module, own in sorted(names.items(), key=lambda item: item[1][0]):
        source = ROOT / (module.replace(".", "/") + ".py")
        text = ast.get_docstring(ast.parse(source.read_text())) or ""
        parts.append(f"## {', '.join(own)}\n\n{text.strip()}\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
