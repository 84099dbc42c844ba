"""The sensor: noise law, holes where they belong, untouched input."""

import numpy as np
import pytest

from sas_jax.rooms.render.renderer import Rendered
from sas_jax.rooms.scan.config import SensorConfig
from sas_jax.rooms.scan.sensor import apply_sensor

SHAPE = (120, 160)
QUIET = SensorConfig(
    exposure_stops=0.0,
    white_balance=0.0,
    gamma=0.0,
    blur_px=(1e-6, 1e-6),
    vignette=0.0,
    shot=0.0,
    read=0.0,
)


def view(depth_m=2.0, cosine=1.0, gray=128) -> Rendered:
    """Return a flat view."""
    return Rendered(
        rgb=np.full((*SHAPE, 3), gray, np.uint8),
        depth_m=np.broadcast_to(np.float32(depth_m), SHAPE).copy(),
        label=np.zeros(SHAPE, np.int32),
        instance=np.ones(SHAPE, np.int32),
        cosine=np.broadcast_to(np.float32(cosine), SHAPE).copy(),
    )


def test_types_and_whole_millimetres():
    rgb, depth = apply_sensor(view(), np.random.default_rng(0))
    assert rgb.dtype == np.uint8 and rgb.shape == (*SHAPE, 3)
    assert depth.dtype == np.float32 and depth.shape == SHAPE
    np.testing.assert_allclose(depth * 1000, np.round(depth * 1000), atol=1e-3)


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_depth_noise_grows_with_the_square(distance):
    depth = apply_sensor(view(distance), np.random.default_rng(1))[1]
    valid = depth[depth > 0]
    assert valid.mean() == pytest.approx(distance, abs=2e-3 * distance)
    expected = SensorConfig().depth_noise * distance**2
    assert valid.std() == pytest.approx(expected, rel=0.15)
    assert (depth > 0).mean() > 0.99


def test_no_reading_behind_the_range_or_without_a_surface():
    scene = view(np.where(np.arange(SHAPE[1]) < 80, 7.0, 0.0))
    assert (apply_sensor(scene, np.random.default_rng(0))[1] == 0).all()


def test_grazing_surfaces_lose_readings():
    rng = np.random.default_rng(2)
    kept = [
        (apply_sensor(view(cosine=c), rng)[1] > 0).mean() for c in (0.9, 0.2, 0.08, 0.0)
    ]
    assert kept[0] > 0.99 and kept[1] > 0.99
    assert kept[2] == pytest.approx(0.08 / SensorConfig().min_cosine, abs=0.05)
    assert kept[3] < 0.01


def test_holes_at_depth_edges_only_beside_the_edge():
    scene = view(np.where(np.arange(SHAPE[1]) < 80, 1.0, 3.0))
    depth = apply_sensor(scene, np.random.default_rng(3))[1]
    lost = (depth == 0).mean(0)
    assert 0.4 < lost[79:81].mean() < 0.8
    assert lost[:79].max() < 0.1 and lost[81:].max() < 0.1


def test_a_silent_sensor_returns_the_colours():
    scene = view()
    scene.rgb[:] = np.random.default_rng(4).integers(0, 256, scene.rgb.shape)
    rgb = apply_sensor(scene, np.random.default_rng(0), QUIET)[0]
    assert np.abs(rgb.astype(int) - scene.rgb).max() <= 1


def test_exposure_and_vignette_change_what_they_should():
    bright = SensorConfig(**{**vars(QUIET), "exposure_stops": 0.5})
    means = [
        apply_sensor(view(), np.random.default_rng(s), bright)[0].mean()
        for s in range(12)
    ]
    assert np.ptp(means) > 20
    dark = SensorConfig(**{**vars(QUIET), "vignette": 0.5})
    rgb = apply_sensor(view(), np.random.default_rng(0), dark)[0].astype(float)
    assert rgb[60, 80].mean() > rgb[0, 0].mean() + 5


def test_noise_is_stronger_in_light_than_in_the_dark():
    noisy = SensorConfig(**{**vars(QUIET), "shot": 0.05})
    spread = []
    for gray in (40, 220):
        rgb = apply_sensor(view(gray=gray), np.random.default_rng(0), noisy)[0]
        linear = (rgb / 255.0) ** 2.2
        spread.append(linear.std())
    assert spread[1] > 3 * spread[0] > 0


def test_same_bits_and_untouched_input():
    scene = view(np.linspace(0.5, 5, SHAPE[1]))
    before = scene.rgb.copy(), scene.depth_m.copy()
    first = apply_sensor(scene, np.random.default_rng(5))
    again = apply_sensor(scene, np.random.default_rng(5))
    other = apply_sensor(scene, np.random.default_rng(6))
    for a, b, c in zip(first, again, other, strict=True):
        assert a.tobytes() == b.tobytes() != c.tobytes()
    np.testing.assert_array_equal(scene.rgb, before[0])
    np.testing.assert_array_equal(scene.depth_m, before[1])
