"""The method's formulas, written out: loops over points, views, edges, in float64.

Nothing here imports the library, so that no mistake can be made twice. Where the paper
and the authors' code differ, `compat` is "paper" or "official". Sources: SAS (arXiv
2503.08512), equations by number; the code's procedure where the paper has no formula.
"""

import itertools
import math

import numpy as np

OCCLUSION = {"paper": 0.2, "official": 0.25}


def projection(points, intrinsics, pose, depth, size_hw, *, share, border, compat):
    """Pixel (row, column) of each point that the frame sees, None of the others.

    Section 3.1: seen where |z - D| <= share * D. The code asks for z > 0 only where
    there is no depth.
    """
    camera_from_world = np.linalg.inv(pose)
    pixels = []
    for point in points:
        x, y, z = (camera_from_world @ [*map(float, point), 1])[:3]
        pixels.append(None)
        if z == 0 or (z < 0 and (compat == "paper" or depth is None)):
            continue
        u, v, w = intrinsics @ [x, y, z]
        column, row = round(u / w), round(v / w)
        height, width = size_hw
        if not (border <= column < width - border and border <= row < height - border):
            continue
        if depth is not None:
            measured = float(depth[row, column])
            if measured == 0 or abs(measured - z) > share * measured:
                continue
        pixels[-1] = (row, column)
    return pixels


def view_means(views, num_points, dim, compat):
    """Mean feature and number of views of each point, None where there is none.

    Args:
      views: per frame the pixels of `projection` and the image of features; a feature
        is None where a mask teacher has no mask. The code takes zeros for it.
    """
    means, counts = [], []
    for p in range(num_points):
        seen = []
        for pixels, image in views:
            if pixels[p] is None:
                continue
            feature = image[pixels[p][0]][pixels[p][1]]
            if feature is not None:
                seen.append(np.float64(feature))
            elif compat == "official":
                seen.append(np.zeros(dim))
        means.append(sum(seen) / len(seen) if seen else None)
        counts.append(len(seen))
    return means, counts


def fusion(vectors, teachers, capability, text, tau, other, compat):
    """Feature of a point from those of the teachers that saw it (Eq. 6 to 8).

    The code sums where Eq. 7 averages, divides by the sum over teachers, and lets the
    first teacher's word be final where it says `other`.
    """
    predictions = [int(np.argmax([word @ v for word in text])) for v in vectors]
    if compat == "official" and teachers[0] == 0 and predictions[0] == other:
        return vectors[0]
    scores = [sum(capability[t][c] for c in predictions) for t in teachers]
    if compat == "official":
        scores = [score / sum(scores) for score in scores]
    else:
        scores = [score / len(predictions) for score in scores]
    weights = [math.exp(score / tau) for score in scores]
    return sum(
        w / sum(weights) * np.float64(v) for w, v in zip(weights, vectors, strict=True)
    )


def voxels(points, size):
    """Sorted occupied cells, the first point of each, and the cell of each point.

    Floor first, then the least coordinate is subtracted; nothing is averaged.
    """
    cells = [tuple(math.floor(float(x) / size) for x in point) for point in points]
    least = [min(cell[axis] for cell in cells) for axis in range(3)]
    cells = [tuple(c - m for c, m in zip(cell, least, strict=True)) for cell in cells]
    order = sorted(set(cells))
    return order, [cells.index(c) for c in order], [order.index(c) for c in cells]


def noise_shape(points, granularity):
    """Nodes of the noise grid: one of margin on each side."""
    extent = points.max(axis=0) - points.min(axis=0)
    return tuple(int(edge // granularity) + 3 for edge in extent)


def elastic_distortion(points, granularity, magnitude, noise):
    """Points moved by noise [3, x, y, z] that is smoothed and interpolated."""
    field = noise.astype(np.float64)
    for axis in (0, 1, 2, 0, 1, 2):
        smooth = np.zeros_like(field)
        for node in np.ndindex(field.shape[1:]):
            for step in (-1, 0, 1):
                near = list(node)
                near[axis] += step
                if 0 <= near[axis] < field.shape[1 + axis]:
                    smooth[(slice(None), *node)] += field[(slice(None), *near)] / 3
        field = smooth
    low, moved = points.min(axis=0), []
    for point in points:
        place = (point - low) / granularity + 1
        base = np.floor(place).astype(int)
        move = np.zeros(3)
        for corner in itertools.product((0, 1), repeat=3):
            share = math.prod(
                f if c else 1 - f for c, f in zip(corner, place - base, strict=True)
            )
            move += share * field[(slice(None), *(base + corner))]
        moved.append(point + magnitude * move)
    return np.array(moved)


def vertex_normals(points, faces):
    """Mean of the unit normals of the faces at each vertex, not normalised again."""
    normals = []
    for v in range(len(points)):
        found = []
        for a, b, c in faces:
            if v in (a, b, c):
                p, q, r = (np.float64(points[i]) for i in (a, b, c))
                cross = np.cross(q - p, r - p)
                found.append(cross / math.sqrt(cross @ cross))
        normals.append(sum(found) / len(found) if found else np.zeros(3))
    return normals


def mesh_edge_weight(points, normals, a, b):
    """1 - n_a . n_b, squared where the surface is convex along a to b."""
    weight = 1 - normals[a] @ normals[b]
    along = np.float64(points[b]) - np.float64(points[a])
    return weight**2 if normals[b] @ along > 0 else weight


def segments(num_points, edges, weights, k_threshold, min_vertices):
    """Graph segmentation (Felzenszwalb and Huttenlocher), sets of points as sets.

    By ascending weight, two sets join if it is at most the threshold of both; that of
    the union is the weight + k / size. Then, in the same order, small sets join.
    """
    owner = [{p} for p in range(num_points)]
    threshold = {id(one): k_threshold for one in owner}
    order = sorted(range(len(edges)), key=lambda e: (weights[e], e))

    def join(a, b):
        union = a | b
        for p in union:
            owner[p] = union
        return union

    for e in order:
        a, b = (owner[p] for p in edges[e])
        if a is not b and weights[e] <= min(threshold[id(a)], threshold[id(b)]):
            union = join(a, b)
            threshold[id(union)] = weights[e] + k_threshold / len(union)
    for e in order:
        a, b = (owner[p] for p in edges[e])
        if a is not b and min(len(a), len(b)) < min_vertices:
            join(a, b)
    first = sorted({min(one) for one in owner})
    return [first.index(min(one)) for one in owner]


def cosine(a, b):
    """Cosine of the angle between two vectors."""
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def cross_entropy(logits, label):
    """-log softmax(logits)[label]."""
    return math.log(sum(math.exp(x) for x in logits)) - float(logits[label])


def mean_by(owner, vectors):
    """Mean vector of each owner that has one; a vector may be None."""
    return {
        s: sum(own) / len(own)
        for s in sorted(set(owner))
        if (
            own := [
                np.float64(v)
                for o, v in zip(owner, vectors, strict=True)
                if o == s and v is not None
            ]
        )
    }


def taught_voxels(fused, superpoint, first_point, level, compat):
    """Voxels that distillation may count.

    Args:
      fused: feature of each point, None where no camera saw it. The paper maps means
        of superpoints back to all of their points; the code teaches what was seen.
    """
    means = mean_by(superpoint, fused)
    if level == "superpoint" and compat == "paper":
        return [n for n, p in enumerate(first_point) if superpoint[p] in means]
    return [n for n, p in enumerate(first_point) if fused[p] is not None]


def superpoint_targets(fused, superpoint, first_point, counted, compat):
    """f_SP^2D: of all points that were seen; in the code, of the voxels that count."""
    if compat == "paper":
        return mean_by(superpoint, fused)
    points = [first_point[n] for n in counted]
    return mean_by([superpoint[p] for p in points], [fused[p] for p in points])


def distillation(features, targets, superpoint, counted):
    """Terms of Eq. 10, L_p of each voxel and L_sp of each superpoint.

    Args:
      features: F_3D of each voxel.
      targets: f_SP^2D of each superpoint.
      superpoint: of each voxel.
      counted: voxels that count.
    """
    owner = [superpoint[n] for n in counted]
    means = mean_by(owner, [features[n] for n in counted])
    of_voxels = [1 - cosine(features[n], targets[superpoint[n]]) for n in counted]
    return of_voxels, [1 - cosine(means[s], targets[s]) for s in means]


def ensembled(history, features, point_voxel, alpha):
    """Fhat <- alpha Fhat + (1 - alpha) F_3D of each point (Eq. 11)."""
    return [
        alpha * past + (1 - alpha) * features[n]
        for past, n in zip(history, point_voxel, strict=True)
    ]


def pseudo_labels(history, superpoint, text, compat):
    """Class of each point and of each superpoint (Eq. 12).

    In the code, a point has the class of its superpoint.
    """
    means = mean_by(superpoint, history)
    of_superpoints = {s: int(np.argmax(text @ mean)) for s, mean in means.items()}
    if compat == "official":
        return [of_superpoints[s] for s in superpoint], of_superpoints
    return [int(np.argmax(text @ past)) for past in history], of_superpoints


def self_distillation(features, text, labels, of_superpoints, superpoint, counted):
    """Terms of Eq. 13, L_p^ST of each voxel and L_sp^ST of each superpoint.

    Args:
      labels: of each voxel.
      of_superpoints: label of each superpoint.
    """
    owner = [superpoint[n] for n in counted]
    means = mean_by(owner, [features[n] for n in counted])
    of_voxels = [cross_entropy(text @ features[n], labels[n]) for n in counted]
    return of_voxels, [
        cross_entropy(text @ mean, of_superpoints[s]) for s, mean in means.items()
    ]


def capability(pseudo, predicted, index, compat):
    """S_j of one class by one teacher, pixel by pixel (Eq. 3-4).

    The code pools over images; an image without either mask says nothing.
    """
    shares, both_of_all, either_of_all = [], 0, 0
    for mask, classes in zip(pseudo, predicted, strict=True):
        both = either = 0
        for here, found in zip(mask.ravel(), classes.ravel(), strict=True):
            both += bool(here) and found == index
            either += bool(here) or found == index
        both_of_all, either_of_all = both_of_all + both, either_of_all + either
        if either:
            shares.append(both / either)
    if not shares:
        return 0.0
    if compat == "official":
        return both_of_all / either_of_all
    return sum(shares) / len(shares)


def point_prompts(coarse, count, rim, min_pixels, seeds):
    """Points (row, column) that prompt for a coarse mask, as the code places them.

    Args:
      rim: pixels along the border where no point may lie.
      min_pixels: with fewer inside, `seeds` take the mask's place.
      seeds: pixels around the centre.
    """
    height, width = coarse.shape
    inside = {
        (r, c)
        for r in range(rim, height - rim)
        for c in range(rim, width - rim)
        if coarse[r, c]
    }
    if len(inside) < min_pixels:
        inside = set(seeds)
    parts = _parts(inside)
    if len(parts) == 1:
        shares = [count]
    elif len(parts) == 2:
        shares = [count - 1, 1]
    else:
        shares = [1] * count
    points = []
    for part, share in zip(parts, shares, strict=False):
        left = set(part)
        for _ in range(min(share, len(part))):
            best = _deepest(left, height, width)
            points.append(best)
            left.remove(best)
    return points


def _parts(pixels):
    """Pieces that hang together over edges and corners, the largest first."""
    left, parts = sorted(pixels, reverse=True), []
    open_pixels = set(left)
    while left:
        start = left.pop()
        if start not in open_pixels:
            continue
        open_pixels.remove(start)
        part, queue = [start], [start]
        while queue:
            r, c = queue.pop()
            for near in itertools.product((r - 1, r, r + 1), (c - 1, c, c + 1)):
                if near in open_pixels:
                    open_pixels.remove(near)
                    part.append(near)
                    queue.append(near)
        parts.append(part)
    return sorted(parts, key=len, reverse=True)


def _deepest(pixels, height, width):
    """The first pixel, row by row, that is farthest from all that is outside."""
    best, depth = None, -1.0
    rows, cols = np.ogrid[:height, :width]
    outside = np.ones((height, width), bool)
    for pixel in pixels:
        outside[pixel] = False
    for r, c in sorted(pixels):
        away = min(r + 1, c + 1, height - r, width - c)  # the frame is outside
        if outside.any():
            square = ((rows - r) ** 2 + (cols - c) ** 2)[outside].min()
            away = min(away, math.sqrt(square))
        if away > depth:
            best, depth = (r, c), away
    return best
