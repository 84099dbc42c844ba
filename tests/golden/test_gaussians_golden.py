"""Projection, images and gradients of Gaussians equal gsplat's torch reference.

In f64 within 1e-12. In f32 within four times what the reference's own f32 run differs
from its f64 run (report_f32_vs_f64.json), on the pixels where that run took the same
decisions; a term of a few roundings stands in where it does not differ at all.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_oracle import hash_uniform

from sas_jax.gaussians import projection, raster, raster_native, tiles
from sas_jax.gaussians.harmonics import sh_basis, sh_colours
from sas_jax.gaussians.projection import Camera, Gaussians, RenderConfig

SMALL = ("mini", "mini_antialiased")
LARGE = (
    *("classic_colours", "classic_sh3", "antialiased_sh1", "features16", "edge"),
    *("edge_antialiased", "gsplat_head_classic", "gsplat_head_antialiased"),
)
F64, TIMES, FEW_ROUNDINGS = 1e-12, 4, 8 * 2.0**-24
PARAMETERS = ("means", "scales", "quats", "opacities")


class Case:
    """One golden file, its settings and its inputs in a dtype."""

    def __init__(self, folder, name, dtype, impl="xla"):
        if not (folder / f"{name}.npz").is_file():
            pytest.skip(f"{name} is not among the small golden files")
        with np.load(folder / f"{name}.npz", allow_pickle=False) as found:
            self.data = {key: found[key] for key in found.files}
        self.name, self.dtype, self.impl = name, dtype, impl
        self.width, self.height = (
            int(self.data["in.width"]),
            int(self.data["in.height"]),
        )
        head = name.startswith("gsplat_head")
        self.config = RenderConfig(
            alpha_cap=0.99 if head else 0.999,
            antialiased="antialiased" in name,
            least_compensation=0.005 if head else 0.0,
        )
        self.cameras = len(self.data["in.viewmats"])
        self.gaussians = Gaussians(*(self.array(f"in.{k}") for k in PARAMETERS))
        self.is_sh = "in.sh" in self.data
        self.features = self.array("in.sh" if self.is_sh else "in.feats")
        has_background = "in.backgrounds" in self.data
        self.backgrounds = self.array("in.backgrounds") if has_background else None

    def array(self, key):
        return jnp.asarray(self.data[key].astype(self.dtype))

    def camera(self, c):
        return Camera(self.array("in.viewmats")[c], self.array("in.Ks")[c])

    def project(self, c):
        size = (self.width, self.height)
        return projection.project(self.gaussians, self.camera(c), *size, self.config)

    def pairs(self, c):
        if self.impl == "native":
            return None
        size = (self.width, self.height)
        return raster.pairs_for(self.gaussians, self.camera(c), *size, self.config)

    def render(self, inputs, camera, background, pairs):
        gaussians, features = inputs
        if self.is_sh:
            sh = features[:, : (int(self.name[-1]) + 1) ** 2]
            features = sh_colours(gaussians.means, sh, camera.viewmat)
        return raster.render(
            gaussians,
            features,
            camera,
            width=self.width,
            height=self.height,
            config=self.config,
            background=background,
            pairs=pairs,
            impl=self.impl,
        )

    def runs(self):
        """Each camera's images, and the sum of their gradients."""
        seed = int(self.data["loss_seed"])
        shape = self.data["out64.render"].shape
        v = hash_uniform(seed, shape).astype(self.dtype)
        va = hash_uniform(seed + 1, (*shape[:3], 1))[..., 0].astype(self.dtype)
        counts = [self.pairs(c) for c in range(self.cameras)]
        pairs = None if None in counts else max(counts)

        @jax.jit
        def run(camera, background, v, va):
            def loss(inputs, background):
                seen = self.render(inputs, camera, background, pairs)
                return jnp.sum(seen.image * v) + jnp.sum(seen.alpha * va), seen

            inputs = (self.gaussians, self.features)
            one = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
            return one(inputs, background)

        images, sums, of_background = [], None, []
        for c in range(self.cameras):
            background = None if self.backgrounds is None else self.backgrounds[c]
            ((_, seen), (grads, last)) = run(self.camera(c), background, v[c], va[c])
            images.append(seen)
            of_background.append(last)
            sums = grads if sums is None else jax.tree.map(jnp.add, sums, grads)
        found = dict(zip(PARAMETERS, sums[0], strict=True))
        found["sh" if self.is_sh else "feats"] = sums[1]
        if self.backgrounds is not None:
            found["backgrounds"] = jnp.stack(of_background)
        return images, found


@pytest.fixture
def f64():
    with jax.enable_x64(True):
        yield


def error(got, want):
    """Largest difference, relative above 1 and absolute below."""
    want = np.asarray(want, np.float64)
    return np.max(np.abs(np.asarray(got, np.float64) - want) / (1 + np.abs(want)))


def relative(got, want):
    """Difference of gradients in L2, of the entries that the reference could tell."""
    known = np.isfinite(want)
    assert np.isfinite(got).all()
    return np.linalg.norm((got - want)[known]) / np.linalg.norm(want[known])


def check_projection(case, bounds):
    for c in range(case.cameras):
        projected = case.project(c)
        np.testing.assert_array_equal(projected.radii, case.data["mid.radii"][c])
        for key in ("means2d", "depths", "conics", "opacities"):
            got, want = getattr(projected, key), case.data[f"mid64.{key}"][c]
            assert error(got, want) <= bounds(key), key


def check_images(case, images, pixels, bounds):
    for c, seen in enumerate(images):
        some = pixels[c]
        for key, got in (
            ("render", seen.image),
            ("alpha", seen.alpha[..., None]),
            ("depth_D", seen.depth[..., None]),
            ("depth_ED", seen.mean_depth[..., None]),
        ):
            if key in bounds and f"out64.{key}" in case.data:
                want = case.data[f"out64.{key}"][c]
                assert error(got[some], want[some]) <= bounds[key], key


def cases(*quick):
    """All of them, those slow that are not named: each is compiled for six seconds."""
    return [
        name if name in (*SMALL, *quick) else pytest.param(name, marks=pytest.mark.slow)
        for name in (*SMALL, *LARGE)
    ]


# With the small ones: both caps of alpha, antialiased or not, a bound of that or none.
QUICK = ("classic_colours", "edge", "gsplat_head_antialiased")


@pytest.mark.parametrize("name", cases(*QUICK))
def test_f64(gaussians_golden, f64, name):
    case = Case(gaussians_golden, name, np.float64)
    check_projection(case, lambda key: F64)
    images, grads = case.runs()
    everywhere = np.ones(case.data["rec.f32_same"].shape, bool)
    bounds = dict.fromkeys(("render", "alpha", "depth_D", "depth_ED"), F64)
    check_images(case, images, everywhere, bounds)
    for key, got in grads.items():
        want = case.data[f"grad64.{key}"]
        # Some were rounded to f32 to be stored; sums of thousands of terms in another
        # order, and divisions by 1 - alpha down to 1e-3, cost a digit.
        bound = 2.0**-23 if want.dtype == np.float32 else 10 * F64
        assert relative(np.asarray(got), want) <= bound, key


@pytest.fixture(scope="module")
def report(gaussians_golden):
    path = gaussians_golden / "report_f32_vs_f64.json"
    if not path.is_file():
        pytest.skip("the report is not among the small golden files")
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_f32(gaussians_golden, report, name):
    if not raster_native.is_available():
        pytest.skip("the native library is not built")
    check_f32(Case(gaussians_golden, name, np.float32, "native"), report[name])


@pytest.mark.parametrize("name", cases("classic_colours"))
def test_f32_by_xla(gaussians_golden, report, name):
    check_f32(Case(gaussians_golden, name, np.float32), report[name])


def check_f32(case, theirs):

    def within(stated):
        return TIMES * stated + FEW_ROUNDINGS

    # Absolute and relative: the smaller is what `error` may be.
    check_projection(case, lambda key: within(min(theirs[f"f32err.{key}"])))
    images, grads = case.runs()
    bounds = {
        "render": within(theirs["f32err_render_same_pixels"]),
        "alpha": within(theirs["f32err_alpha"]),
    }
    # Not stated for depth; its weights are those of alpha.
    bounds["depth_D"] = bounds["alpha"] * np.max(case.data["mid64.depths"])
    check_images(case, images, case.data["rec.f32_same"], bounds)
    for key, got in grads.items():
        # "colors" are whatever the case has; None where the reference has NaN.
        stated = theirs.get(
            f"f32relerr.grad.{'colors' if key in ('sh', 'feats') else key}"
        )
        if stated is not None:
            want = case.data[f"grad64.{key}"].astype(np.float64)
            assert relative(np.asarray(got), want) <= within(stated), key


@pytest.mark.parametrize("name", ["mini", "classic_sh3", "features16", "edge"])
def test_lists_of_tiles(gaussians_golden, f64, name):
    """Sorted by tile, then depth in f32, then index: the reference's own lists."""
    case = Case(gaussians_golden, name, np.float64)
    ids, starts = case.data["mid.flatten_ids"], case.data["mid.isect_offsets"]
    bounds = [*starts.reshape(case.cameras, -1)[:, 0], len(ids)]
    size = (case.width, case.height)
    for c in range(case.cameras):
        projected = case.project(c)
        number = int(tiles.count_pairs(projected, *size))
        assert number == bounds[c + 1] - bounds[c]
        lists = tiles.tile_lists(projected, *size, len(ids))
        want = ids[bounds[c] : bounds[c + 1]] - c * len(case.gaussians.means)
        np.testing.assert_array_equal(lists.gaussian[:number], want)
        np.testing.assert_array_equal(lists.start[:-1], starts[c].ravel() - bounds[c])
        assert lists.start[-1] == number and not lists.overflow


def test_lifting_is_the_transpose_of_rendering(gaussians_golden, f64):
    case = Case(gaussians_golden, "features16", np.float64)
    shape = case.data["out64.render"].shape
    images = hash_uniform(int(case.data["lift_seed"]), shape).astype(np.float64)
    pairs = max(case.pairs(c) for c in range(case.cameras))

    @jax.jit
    def lift(camera, image):
        def blended(features):
            seen = case.render((case.gaussians, features), camera, None, pairs)
            return seen.image

        ones = jnp.concatenate([image, jnp.ones_like(image[..., :1])], axis=2)
        columns = jnp.zeros((len(case.features), 17))
        return jax.vjp(blended, columns)[1](ones)[0]

    for c in range(case.cameras):
        got = lift(case.camera(c), jnp.asarray(images[c]))
        num, den = case.data["lift64.num"][c], case.data["lift64.den"][c]
        np.testing.assert_allclose(got[:, :16], num, rtol=2.0**-23, atol=2e-7)
        np.testing.assert_allclose(got[:, 16], den, rtol=1e-11, atol=1e-13)


@pytest.fixture
def formulas(gaussians_golden, f64):
    with np.load(gaussians_golden / "covariance_sh.npz", allow_pickle=False) as found:
        return {key: jnp.asarray(found[key].astype(np.float64)) for key in found.files}


def test_rotations_and_covariances(formulas):
    rotation = projection.rotation_matrices(formulas["in.quats"])
    axes = rotation * formulas["in.scales"][:, None]
    covariance = jnp.einsum("gik,gjk->gij", axes, axes)
    assert error(rotation, formulas["rotation64"]) <= F64
    assert error(covariance, formulas["covar64"]) <= F64


def test_harmonics(formulas):
    """Colours before 0.5 is added; directions of any length, as the file has them."""

    def values(directions, coefficients, degree):
        square = jnp.sum(directions**2, axis=1, keepdims=True)
        basis = sh_basis(directions / jnp.sqrt(square), degree)
        return jnp.sum(basis[:, :, None] * coefficients[:, : basis.shape[1]], axis=1)

    directions, coefficients = formulas["in.dirs"], formulas["in.coeffs"]
    for degree in range(5):
        got = values(directions, coefficients, degree)
        assert error(got, formulas[f"sh64.deg{degree}"]) <= F64
        # A camera at the origin; 0.5 keeps most of them above 0.
        eye = jnp.eye(4)
        seen = sh_colours(directions, coefficients[:, : (degree + 1) ** 2], eye)
        assert error(seen, jnp.maximum(got + 0.5, 0)) <= F64
