"""Open a scene's folder whatever its layout is, by looking at what lies in it."""

import pathlib

from sas_jax.datasets import posed_rgbd, scannet
from sas_jax.errors import InputError
from sas_jax.scenes.poses import PoseConvention
from sas_jax.scenes.scene import Scene


def open_folder(
    folder: str | pathlib.Path,
    *,
    image_size_wh: tuple[int, int] | None = None,
    frame_stride: int = 1,
    depth_scale: float = 1000.0,
    up: posed_rgbd.Up = "z",
    pose_convention: PoseConvention | None = None,
    cloud: posed_rgbd.CloudConfig | None = None,
    keep: pathlib.Path | None = None,
    progress: posed_rgbd.Progress = iter,
    compat: scannet.Compat = "paper",
    annotations: bool = True,
) -> Scene:
    """Open a scan in ScanNet's layout or a folder of posed RGB-D frames.

    Args:
      folder: with `<name>_vh_clean_2.ply` for ScanNet, with `intrinsic.txt` otherwise.
      image_size_wh: size of the frames, or None for that of the depth images.
      frame_stride: keep every n-th frame.
      depth_scale: stored units per metre; posed RGB-D only.
      up: see `posed_rgbd.open_scene`; posed RGB-D only, as the next four.
      pose_convention: how poses are stored.
      cloud: how depth becomes points.
      keep: folder where the points are kept.
      progress: wraps the names of the frames while the points are made.
      compat: see `scannet.open_scene`; ScanNet only.
      annotations: read labels and instances; ScanNet only, the other has none.

    Raises:
      InputError: for a folder of neither layout, and what the readers raise.
    """
    folder = pathlib.Path(folder).absolute()
    if folder.name == "..":  # the name is the scene's, and that of its artefacts
        folder = folder.resolve()
    shared = {"image_size_wh": image_size_wh, "frame_stride": frame_stride}
    if scannet.mesh_path(folder).exists():
        return scannet.open_scene(
            folder, compat=compat, annotations=annotations, **shared
        )
    if (folder / "intrinsic.txt").exists():
        return posed_rgbd.open_scene(
            folder,
            depth_scale,
            up=up,
            pose_convention=pose_convention,
            config=cloud or posed_rgbd.CloudConfig(),
            keep=keep,
            progress=progress,
            **shared,
        )
    raise InputError(
        f"open: a folder with {folder.name}_vh_clean_2.ply (ScanNet) or intrinsic.txt, "
        f"color/, depth/ and pose/ (posed RGB-D) is required, got neither ({folder}). "
        "Check the path."
    )
