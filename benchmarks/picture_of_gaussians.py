"""Draw frames of rooms beside what trained Gaussians, and features on them, make of it.

python benchmarks/picture_of_gaussians.py SPLATS docs/gaussians.png \
    --data_root=data/rooms --shown room0010_00:1 --features fused=FOLDER ...

A row a frame, <scene>:<number of the frame>: the photograph, the Gaussians from there,
the classes by each folder's features (gaussian_semantics.py), and the truth.
"""

import argparse
import pathlib

import jax.numpy as jnp
import numpy as np
from gaussian_semantics import SETS, texts_of
from PIL import Image

from sas_jax.artefacts.features import load_features
from sas_jax.datasets.scannet import ScanNet
from sas_jax.evaluation.image_truth import ImageTruth
from sas_jax.gaussians.files.rewrite import read_splat_file
from sas_jax.gaussians.files.sidecar import sidecar_of
from sas_jax.gaussians.harmonics import sh_colours
from sas_jax.gaussians.lift_scene import camera_at
from sas_jax.gaussians.projection import gaussians_of
from sas_jax.gaussians.raster import render
from sas_jax.gaussians.semantics import LabelMaps, class_shares
from sas_jax.scenes.labels import label_set
from sas_jax.scenes.scene import usable_frames
from sas_jax.view.pictures import contact_sheet

_NONE = (235, 235, 235)


def row_of(path: pathlib.Path, number: int, args: argparse.Namespace):
    """Return the pictures of a frame and their captions."""
    labels = label_set(SETS[0])
    scene = ScanNet().open(path, label_set=labels)
    source = scene.frame_source
    (frame,) = usable_frames(source, [source.names[number]], {})
    file = read_splat_file(args.splats / f"{path.name}.ply")
    gaussians, camera = gaussians_of(file.splats), camera_at(frame)
    height, width = frame.size_hw
    colours = sh_colours(gaussians.means, jnp.asarray(file.splats.sh), camera.viewmat)
    seen = render(gaussians, colours, camera, width=width, height=height).image
    pictures = [frame.rgb, np.rint(255 * np.clip(np.asarray(seen), 0, 1))]
    captions = ["photograph", "Gaussians"]
    for given in args.features:
        name, folder = given.split("=", 1)
        beside = sidecar_of(pathlib.Path(folder) / f"{path.name}.ply")
        features = load_features(beside, file.splats.means)
        shares = class_shares(features, texts_of(features.space, SETS[0]))
        said = LabelMaps(gaussians, shares).at(camera, frame.size_hw)
        pictures.append(labels.colors(said.ravel(), _NONE).reshape(height, width, 3))
        captions.append(name)
    truth = ImageTruth(scene).of(frame)
    pictures.append(labels.colors(truth.ravel(), _NONE).reshape(height, width, 3))
    return [p.astype(np.uint8) for p in pictures], [*captions, "truth"]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("splats", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--data_root", type=pathlib.Path, default="data/rooms")
    parser.add_argument("--shown", nargs="+", required=True)
    parser.add_argument("--features", nargs="*", default=[])
    args = parser.parse_args()
    pictures, captions = [], []
    for shown in args.shown:
        scene, number = shown.split(":")
        found = row_of(args.data_root / "scans" / scene, int(number), args)
        pictures, captions = pictures + found[0], captions + found[1]
    columns = len(pictures) // len(args.shown)
    sheet = contact_sheet(pictures, columns, captions=captions)
    Image.fromarray(sheet).quantize(256).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
