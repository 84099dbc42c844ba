"""Gaussians rendered slowly: Gaussian by Gaussian over all pixels, no tiles, no boxes.

Written from the formulas (`raster.rasterize`, `projection.project`), in f64.
"""

import numpy as np

NEAR, FAR, BLUR, CUT, STOP = 0.01, 1e10, 0.3, 1 / 255, 1e-4


def hash_uniform(seed, shape):
    """f32 in [-1, 1): the upper 24 bits of splitmix64's stream, as the goldens use."""
    with np.errstate(over="ignore"):
        gamma = np.uint64(0x9E3779B97F4A7C15)
        count = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.uint64)
        z = np.uint64(seed) * gamma + count * gamma
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    whole = (z >> np.uint64(40)).astype(np.float64)
    return (whole * 2.0**-23 - 1).astype(np.float32).reshape(shape)


def turn(quaternion):
    """Matrix of a quaternion: v + 2 w (axis x v) + 2 axis x (axis x v)."""
    w, *axis = quaternion / np.linalg.norm(quaternion)
    cross = np.cross(np.eye(3), axis)  # rows: e_i x axis; its transpose turns
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def ellipse(mean, scale, quaternion, view, k, width, height):
    """Centre, depth and covariance before blur; None behind the camera."""
    x, y, z = view[:3, :3] @ mean + view[:3, 3]
    if not NEAR < z < FAR:
        return None
    fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    side = np.clip(x / z, -(cx + 0.15 * width) / fx, (1.15 * width - cx) / fx)
    up = np.clip(y / z, -(cy + 0.15 * height) / fy, (1.15 * height - cy) / fy)
    jacobian = np.array([[fx, 0, -fx * side], [0, fy, -fy * up]]) / z
    matrix = jacobian @ view[:3, :3] @ turn(quaternion) @ np.diag(scale)
    return np.array([fx * x / z + cx, fy * y / z + cy]), z, matrix @ matrix.T


def render(scene, view, k, width, height, cap=0.999, antialiased=False):
    """Image, alpha and depth of `(means, scales, quaternions, opacities, features)`."""
    means, scales, quaternions, opacities, features = scene
    found = []
    for g in range(len(means)):
        one = ellipse(means[g], scales[g], quaternions[g], view, k, width, height)
        if one:
            found.append((np.float32(one[1]), g, *one))
    rows, columns = np.mgrid[:height, :width] + 0.5
    image, depth = (
        np.zeros((height, width, features.shape[1])),
        np.zeros((height, width)),
    )
    left, ended = np.ones((height, width)), np.zeros((height, width), bool)
    for _, g, centre, z, sharp in sorted(found, key=lambda one: one[:2]):
        blurred = sharp + BLUR * np.eye(2)
        opacity = opacities[g]
        if antialiased:
            share = np.linalg.det(sharp) / np.linalg.det(blurred)
            opacity = opacity * np.sqrt(max(share, 0))
        (a, b), (_, c) = np.linalg.inv(blurred)
        dx, dy = centre[0] - columns, centre[1] - rows
        alpha = opacity * np.exp(-(a * dx**2 + c * dy**2) / 2 - b * dx * dy)
        alpha = np.minimum(alpha, cap)
        alpha[alpha < CUT] = 0
        ended |= left * (1 - alpha) <= STOP
        alpha[ended] = 0
        image += (left * alpha)[..., None] * features[g]
        depth += left * alpha * z
        left *= 1 - alpha
    return image, 1 - left, depth
