"""Time images of 100,000 Gaussians of a room at 640x480, and their gradients.

    python benchmarks/bench_gaussians.py [--repeats 5] [--impl native] [--only inside]

"render" projects and blends; "lift" is the gradient with respect to features for a
given projection; "train" is image and gradients of all parameters from their means on.
Run under `taskset -c 0` for one thread.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Iterator

import furnished_room
import jax
import jax.numpy as jnp
import measure
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.gaussians import raster, tiles
from sas_jax.gaussians.projection import (
    Camera,
    Gaussians,
    RenderConfig,
    camera_of,
    project,
)

NUMBER, WIDTH, HEIGHT = 100_000, 640, 480
FOCAL = 577.87
# Where the camera is, what it looks at (metres), and channels.
VIEWS = {
    "inside": ((1.4, 0.7, 1.5), (4.0, 2.6, 0.9), (3, 20, 512)),
    "outside": ((-1.6, -1.3, 3.2), (2.4, 1.8, 1.0), (3, 20, 512)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--impl", choices=("native", "xla"), default="native")
    parser.add_argument("--only", default="", help="part of a row's name")
    args = parser.parse_args()
    gaussians = room()
    for name, (centre, target, widths) in VIEWS.items():
        camera = looking(centre, target)
        for channels in widths:
            for what, run in passes(gaussians, camera, channels, args.impl):
                row = {"view": name, "channels": channels, "what": what}
                if args.only not in " ".join(map(str, row.values())):
                    continue
                row |= {"impl": args.impl, **sizes(gaussians, camera)}
                run()
                limit, timing = measure.beside_limit(run, args.repeats)
                measure.report("gaussians", row, timing, 0, limit)


def room() -> Gaussians:
    """Return Gaussians on the surfaces of a room, flat to round, mostly opaque."""
    points, _ = furnished_room.mesh(NUMBER)
    rng = np.random.default_rng(0)
    scales = 0.022 * np.exp(rng.normal(0, 0.5, (NUMBER, 3)))
    rotations = rng.normal(size=(NUMBER, 4))
    opacities = rng.beta(1.5, 1, NUMBER)
    parts = (points, scales, rotations, opacities)
    return Gaussians(*(jnp.asarray(part, jnp.float32) for part in parts))


def looking(centre: tuple[float, ...], target: tuple[float, ...]) -> Camera:
    """Return a level camera of `FOCAL` pixels at `centre`, turned to `target`."""
    forward = np.subtract(target, centre)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = centre
    intrinsics = np.array([[FOCAL, 0, 319.5], [0, FOCAL, 239.5], [0, 0, 1]])
    return Camera(
        *(jnp.asarray(part, jnp.float32) for part in camera_of(intrinsics, pose))
    )


def sizes(gaussians: Gaussians, camera: Camera) -> dict[str, int]:
    """Return how many are seen, and pairs of boxes and tiles."""
    projected = project(gaussians, camera, WIDTH, HEIGHT, RenderConfig())
    return {
        "gaussians": NUMBER,
        "visible": int(jnp.sum(projected.radii[:, 0] > 0)),
        "pairs": int(tiles.count_pairs(projected, WIDTH, HEIGHT)),
    }


def passes(
    gaussians: Gaussians, camera: Camera, channels: int, impl: raster.Implementation
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield names and what to time."""
    config = RenderConfig()
    size = {"width": WIDTH, "height": HEIGHT, "impl": impl}
    if impl == "xla":
        size["pairs"] = raster.pairs_for(gaussians, camera, WIDTH, HEIGHT, config)
    rng = np.random.default_rng(1)
    features = jnp.asarray(rng.random((NUMBER, channels), np.float32))
    weights = jnp.asarray(rng.random((HEIGHT, WIDTH, channels), np.float32))
    projected = project(gaussians, camera, WIDTH, HEIGHT, config)

    @jax.jit
    def lift(projected, weights):
        def image(features):
            return raster.rasterize(projected, features, **size)[0]

        return jax.vjp(image, jnp.zeros((NUMBER, channels)))[1](weights)

    @jax.jit
    @jax.grad
    def train(inputs, weights):
        seen = raster.render(inputs[0], inputs[1], camera, config=config, **size)
        return jnp.sum(seen.image * weights)

    def render():
        return raster.render(gaussians, features, camera, config=config, **size)

    yield "render", lambda: jax.block_until_ready(render())
    yield "lift", lambda: jax.block_until_ready(lift(projected, weights))
    if channels <= 20:
        inputs = (gaussians, features)
        yield "train", lambda: jax.block_until_ready(train(inputs, weights))


if __name__ == "__main__":
    main()
