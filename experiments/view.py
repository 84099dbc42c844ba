r"""Look at a scan in the browser, and ask it in words.

  python experiments/view.py --scene=my/scan
  python experiments/view.py --flagfile=rooms.flags --scene=room0009_00 \
      --text="something to sit on"

A scene is what query.py takes, and --source says who answers first, as there; what is
due runs by itself. The page shows its cloud, mesh or Gaussians; type what
you look for, and the heat of the answer lies on the points, with its best parts as
boxes and as a list: a click flies there; --without and --among are fields, too.
Everyone whose features of the scan are in the
workspace (teachers, fusions, students) can answer, side by side. Classes of
--label_set, superpoints, instances and photographs are layers of the same page; the
present view can be kept as a picture, or as one HTML file that needs no server.

By default superpoints answer together, whoever answers (--nosuperpoint_scores: each
point for itself). Of large clouds only every so many centimetres a point is drawn; all
of them answer.

The page is open to this machine alone, unless --host says otherwise. With --html=FILE,
the answer to --text is written there, and no page is opened.
"""

import contextlib
import io
import math
import os
import socket
import threading

import asking
import numpy as np
import settings
import sources
import stage_flags
import view_sources
import viser
from absl import flags
from make_superpoints import of_scene
from view_panel import Panel
from view_state import View

from sas_jax.artefacts.files import atomic_write
from sas_jax.errors import InputError
from sas_jax.gaussians.drawn import covariances_at
from sas_jax.gaussians.files.rewrite import SplatFile
from sas_jax.instances.files import load_instances
from sas_jax.instances.masks import Instances
from sas_jax.instances.stage import propose_scene
from sas_jax.scenes.images import resize_color
from sas_jax.scenes.scene import Scene
from sas_jax.view.browser.canvas import MOST_DRAWN, Canvas, Photograph
from sas_jax.view.browser.shape import Shape

_SCENE = flags.DEFINE_string(
    "scene", None, "Scene name, folder or file.", required=True
)
_TEXT = flags.DEFINE_string("text", "", "What to look for at once.")
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to serve at; 0.0.0.0: all of this machine's."
)
_PORT = flags.DEFINE_integer("port", 8080, "Port to serve at.", 0, 65535)
_HTML = flags.DEFINE_string("html", None, "Write a page to pass on, and end.")
_DRAW = flags.DEFINE_integer(
    "draw_points", MOST_DRAWN, "Points that are drawn, at most.", 1000
)
_FRAMES = flags.DEFINE_integer("draw_frames", 24, "Photographs, at most.", 0)

_PHOTOGRAPH_W = 192
_CEILING = 0.08, 0.06  # of the height, and of the points that a ceiling has

flags.adopt_module_key_flags(asking)

sources.set_defaults()


def main() -> None:
    """Serve the page, or write one."""
    if _HTML.value is None:
        _check_free(_HOST.value, _PORT.value)
    source = sources.of(_SCENE.value)
    view = _view(source)
    server = _server()
    try:
        _serve(server, source, view)
    except KeyboardInterrupt:
        print("\nclosed", flush=True)
        # Python would wait for threads that draw for a browser, which may be gone.
        os._exit(0)
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def _server() -> viser.ViserServer:
    host, port = (_HOST.value, _PORT.value) if _HTML.value is None else ("127.0.0.1", 0)
    with contextlib.redirect_stdout(io.StringIO()):  # a frame of addresses
        server = viser.ViserServer(host, port, verbose=False)
    # viser's pages can ask to be passed on through a server of its authors.
    server.request_share_url = lambda *args, **kwargs: None
    return server


def _serve(server: viser.ViserServer, source: sources.Source, view: View) -> None:
    scene = source.scene
    canvas = Canvas(server, _shape(scene, source.splats), _DRAW.value)
    canvas.top_m = _below_ceiling(canvas)
    has_frames = bool(scene.frame_source.names) and _FRAMES.value
    panel = Panel(
        server, canvas, view, (lambda: _draw(canvas, scene)) if has_frames else None
    )
    if _TEXT.value:
        asked = asking.question(_TEXT.value)
        panel.ask(_TEXT.value, asked.without, asked.among)
    if _HTML.value is not None:
        atomic_write(_HTML.value, panel.page().encode())
        print(f"written: {_HTML.value}")
        return
    everyone = _HOST.value not in ("127.0.0.1", "localhost", "::1")
    who = "everyone who reaches this address" if everyone else "this machine alone"
    print(
        f"open http://{_HOST.value}:{server.get_port()}\n"
        f"It shows {scene.name} to {who}: points, photographs, answers.\n"
        "Ctrl-C ends it.",
        flush=True,
    )
    threading.Event().wait()


def _check_free(host: str, port: int) -> None:
    """Refuse a port that another program has, and an address that is not here."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"view: a free port and an address of this machine are required, got "
                f"{error.strerror} ({host}:{port}). Choose another: --port={port + 1}, "
                "or --port=0 for any."
            ) from error


def _view(source: sources.Source) -> View:
    scan, scene = source.scan, source.scene

    def superpoints() -> np.ndarray:
        kept = source.superpoints
        return of_scene(scan, scene) if kept is None else kept

    def propose() -> Instances:
        if source.things is not None:
            return source.things
        path = settings.workspace().instances("proposals", scan.name)
        if path.is_file():
            return load_instances(path, scene.points)
        config = stage_flags.PROPOSALS.make()
        return propose_scene(scene, view.superpoints, source.features, config)

    view = View(
        scene,
        view_sources.found(source),
        scan.dataset.label_set(stage_flags.LABEL_SET.value),
        superpoints,
        propose,
        averaged=stage_flags.SUPERPOINT_SCORES.value is not False,
        abstain=stage_flags.ANSWER.make().abstain,
    )
    view.answerer(view.shown[0])
    return view


def _shape(scene: Scene, splats: SplatFile | None) -> Shape:
    if splats is None:
        return Shape(scene.points, scene.faces)
    return Shape(
        scene.points,
        covariances=covariances_at(splats.splats, scene.points),
        opacities=splats.splats.opacities,
    )


def _below_ceiling(canvas: Canvas) -> float:
    """Return a height that leaves a ceiling out; infinity without one."""
    heights = canvas.shape.points[:, 2]
    low, high = np.percentile(heights, [0.5, 99.5])
    top = high - _CEILING[0] * (high - low)
    return float(top) if (heights > top).mean() > _CEILING[1] else math.inf


def _draw(canvas: Canvas, scene: Scene) -> None:
    """Draw every so many photographs, small."""
    stride = -(-len(scene.frame_source.names) // _FRAMES.value)
    found = []
    for frame in scene.frames(stride):
        height, width = frame.size_hw
        size_wh = _PHOTOGRAPH_W, round(_PHOTOGRAPH_W * height / width)
        fov = 2 * math.atan(height / 2 / frame.intrinsics[1, 1])
        small = resize_color(frame.rgb, size_wh, "area")
        found.append(Photograph(frame.name, small, fov, frame.world_from_camera))
    canvas.photographs(found, 0.03 * float(np.linalg.norm(canvas.high - canvas.low)))


if __name__ == "__main__":
    settings.run(main)
