"""Pictures for a notebook: a scan from outside, with heat, classes or a selection."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.cm
import matplotlib.colors
import matplotlib.figure
import matplotlib.patches
import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

from sas_jax.errors import InputError
from sas_jax.scenes.labels import LabelSet, own_label_set
from sas_jax.scenes.scene import Scene
from sas_jax.sparse.extent import spacing
from sas_jax.view.cutaway import cutaway
from sas_jax.view.pictures import BACKGROUND, outside_view, render_points

_VIEW_WH, _MARGIN_PX = (800, 600), 8
_PANEL_IN, _ALONE_IN, _COLUMNS, _DPI = 4.6, 6.6, 3, 110
_FONT_PT, _LEGEND_IN = 13, 2.0
# Classes of fewer points, of all that are drawn, are not explained.
_SEEN = 0.002
_GREY, _LIGHT, _MARK = (150, 150, 150), 0.35, (230, 30, 60)
_HEAT, _SPACING_M = "turbo", 0.06
Values = Num[np.ndarray, " P"] | None
"""None shows colours; floats are heat, integers classes, booleans a selection."""


def show(
    scene: Scene,
    values: Values | Mapping[str, Values] = None,
    classes: Sequence[str] | LabelSet | None = None,
    *,
    azimuth_deg: float = 50.0,
    heat: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw a scan from outside, its near walls left out; a notebook shows the result.

    Args:
      scene: whose points are drawn.
      values: of each point, or several by their titles, side by side.
      classes: names of the integers, or their label set; None takes the scene's.
      azimuth_deg: direction from the scan to the camera, counter-clockwise from +x.
      heat: values at the ends of the colours; None takes 0 and the largest one.

    Raises:
      InputError: for values that are not one for each point.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> heat = sas_jax.query(a, scene, "a desk")
    >>> sas_jax.show(scene, {"colours": None, "a desk": heat}).mode
    'RGB'
    """
    panels = values if isinstance(values, Mapping) else {scene.name: values}
    arrays = {k: None if v is None else np.asarray(v) for k, v in panels.items()}
    _check(scene, arrays)
    names, palette = _classes(scene, classes)
    low, high = heat or _ends(arrays)
    opened = cutaway(scene.points, scene.normals, scene.faces)
    apart = spacing(scene.points, _SPACING_M)
    pose, intrinsics = outside_view(
        scene.points, azimuth_deg=azimuth_deg, size_wh=_VIEW_WH
    )
    pictures = {
        title: render_points(
            scene.points,
            _colors(scene, each, palette, (low, high)),
            pose,
            intrinsics,
            _VIEW_WH,
            opened=opened,
            spacing_m=apart,
        )
        for title, each in arrays.items()
    }
    figure = _figure(_trimmed(pictures))
    kinds = {_kind(each) for each in arrays.values()}
    if "heat" in kinds:
        norm = matplotlib.colors.Normalize(low, high)
        scale = matplotlib.cm.ScalarMappable(norm, _HEAT)
        bar = figure.colorbar(scale, ax=figure.axes, fraction=0.03, pad=0.01)
        bar.ax.tick_params(labelsize=_FONT_PT)
    if "classes" in kinds:
        _legend(figure, arrays, names, palette)
    return _image(figure)


def photographs(scene: Scene, count: int = 4) -> Image.Image:
    """Return some frames of a scan side by side; a notebook shows them.

    Args:
      scene: with frames.
      count: of frames, evenly over the recording.

    Raises:
      InputError: for a scan without frames.

    >>> import sas_jax
    >>> sas_jax.photographs(sas_jax.open_scene(scan), 1).mode
    'RGB'
    """
    listed = scene.frame_source.names
    if not listed:
        raise InputError(
            f"photographs: a scan with frames is required, got one of points alone "
            f"({scene.name}). Show its points: show(scene)."
        )
    frames = list(scene.frames(max(len(listed) // max(count, 1), 1)))[:count]
    return _image(_figure({f"frame {frame.name}": frame.rgb for frame in frames}))


def _check(scene: Scene, arrays: Mapping[str, np.ndarray | None]) -> None:
    shape = (len(scene.points),)
    wrong = {
        k: v.shape for k, v in arrays.items() if v is not None and v.shape != shape
    }
    if wrong or not arrays:
        title, got = next(iter(wrong.items()), ("", "nothing"))
        raise InputError(
            f"show: one value for each of {shape[0]} points is required, got {got} "
            f"({title or scene.name}). Are they of this scene?"
        )


def _kind(values: np.ndarray | None) -> str:
    if values is None:
        return "colours"
    if values.dtype == bool:
        return "selection"
    return "classes" if np.issubdtype(values.dtype, np.integer) else "heat"


def _classes(
    scene: Scene, classes: Sequence[str] | LabelSet | None
) -> tuple[Sequence[str], UInt8[np.ndarray, "K 3"]]:
    own = scene.label_set
    if isinstance(classes, LabelSet):
        known = classes
    elif own is not None and (classes is None or tuple(classes) == own.classes.names):
        known = own
    else:
        known = own_label_set(classes or ("none",))
    return known.classes.names, known.palette


def _ends(arrays: Mapping[str, np.ndarray | None]) -> tuple[float, float]:
    high = [np.nanmax(v) for v in arrays.values() if v is not None and _is_heat(v)]
    return 0.0, max([float(v) for v in high if np.isfinite(v)], default=1.0)


def _is_heat(values: np.ndarray) -> bool:
    return _kind(values) == "heat" and bool(np.isfinite(values).any())


def _colors(
    scene: Scene,
    values: np.ndarray | None,
    palette: UInt8[np.ndarray, "K 3"],
    ends: tuple[float, float],
) -> UInt8[np.ndarray, "P 3"]:
    plain = np.full((len(scene.points), 3), _GREY, np.uint8)
    own = plain if scene.colors is None else scene.colors
    kind = _kind(values)
    if values is None:
        return own
    if kind == "selection":
        pale = (_LIGHT * own + (1 - _LIGHT) * 255 * 0.9).astype(np.uint8)
        return np.where(values[:, None], np.array(_MARK, np.uint8), pale)
    if kind == "classes":
        table = np.concatenate([palette, np.array([(0, 0, 0)], np.uint8)])
        known = (values >= 0) & (values < len(palette))
        return table[np.where(known, values, len(palette))]
    scaled = (values - ends[0]) / max(ends[1] - ends[0], 1e-9)
    rgba = matplotlib.colormaps[_HEAT](np.clip(np.nan_to_num(scaled), 0, 1))
    heat = np.round(255 * rgba[:, :3]).astype(np.uint8)
    return np.where(np.isnan(values)[:, None], plain, heat)


def _trimmed(pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return pictures of one size without the white around what any of them shows."""
    drawn = np.any([(each != BACKGROUND).any(axis=2) for each in pictures.values()], 0)
    if not drawn.any():
        return dict(pictures)
    spans = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    rows, columns = (
        slice(max(s[0] - _MARGIN_PX, 0), s[-1] + 1 + _MARGIN_PX) for s in spans
    )
    return {title: each[rows, columns] for title, each in pictures.items()}


def _figure(pictures: Mapping[str, np.ndarray]) -> matplotlib.figure.Figure:
    columns = min(len(pictures), _COLUMNS if len(pictures) != 4 else 4)
    rows = -(-len(pictures) // columns)
    height, width = next(iter(pictures.values())).shape[:2]
    wide = _PANEL_IN if columns > 1 else _ALONE_IN
    size = (wide * columns, (wide * height / width + 0.35) * rows)
    figure = matplotlib.figure.Figure(figsize=size, dpi=_DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for each in axes:
        each.set_axis_off()
    for each, (title, picture) in zip(axes, pictures.items(), strict=False):
        each.imshow(picture, interpolation="antialiased")
        each.set_title(title, fontsize=_FONT_PT)
    return figure


def _legend(
    figure: matplotlib.figure.Figure,
    arrays: Mapping[str, np.ndarray | None],
    names: Sequence[str],
    palette: UInt8[np.ndarray, "K 3"],
) -> None:
    of_classes = [v for v in arrays.values() if _kind(v) == "classes" and v is not None]
    present, counts = np.unique(np.concatenate(of_classes), return_counts=True)
    present = present[counts >= _SEEN * counts.sum()]
    handles = [
        matplotlib.patches.Patch(color=palette[k] / 255, label=names[k])
        for k in present
        if 0 <= k < len(names)
    ]
    if len(handles) < len(present):
        handles.append(matplotlib.patches.Patch(color="black", label="none"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=max(int(figure.get_figwidth() / _LEGEND_IN), 1),
        fontsize=_FONT_PT,
        frameon=False,
    )


def _image(figure: matplotlib.figure.Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
