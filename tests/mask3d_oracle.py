"""Mask3D's decoder, slow and obvious: numpy in float64, one voxel after the other.

It takes the backbone's features and does everything else by the description of the
network: sampling thread by thread, pooling with dictionaries, logits pooled at every
step as they are defined.
"""

import math

import numpy as np


def sample(coords, count):
    """Furthest points, one CUDA thread after the other."""
    threads = min(1 << int(math.log2(len(coords))), 512)
    nearest = np.full(len(coords), 1e10, np.float32)
    chosen = [0]
    while len(chosen) < count:
        best = [(-1.0, 0)] * threads
        for k, x in enumerate(np.asarray(coords, np.float64)):
            if (x**2).sum() <= 1e-3:
                continue
            distance = ((x - coords[chosen[-1]]) ** 2).sum()
            nearest[k] = min(nearest[k], distance)
            if nearest[k] > best[k % threads][0]:
                best[k % threads] = (nearest[k], k)
        half = threads // 2
        while half:  # the lower thread keeps its own unless the other is better
            for t in range(half):
                if best[t + half][0] > best[t][0]:
                    best[t] = best[t + half]
            half //= 2
        chosen.append(best[0][1])
    return np.array(chosen)


def pool(coords, rows, stride):
    """Means over the coarser voxels, and these."""
    cells = np.asarray(coords) // stride * stride
    groups = {}
    for cell, row in zip(map(tuple, cells.tolist()), rows, strict=True):
        groups.setdefault(cell, []).append(row)
    return np.array(list(groups)), np.array(
        [np.mean(g, axis=0) for g in groups.values()]
    )


def encode(positions, low, high, state, width, kind):
    x = 2 * np.pi * (np.float32(positions).astype(np.float64) - low) / (high - low)
    if kind == "fourier":
        phase = x @ state["pos_enc.gauss_B"]
        return np.concatenate([np.sin(phase), np.cos(phase)], axis=1)
    sizes = [2 * (width // 3 // 2)] * 3
    for axis in range((width - sum(sizes)) // 2):
        sizes[axis] += 2
    out = []
    for axis, n in enumerate(sizes):
        for c in range(n):
            phase = x[:, axis] / 10000 ** (2 * (c // 2) / n)
            out.append(np.cos(phase) if c % 2 else np.sin(phase))
    return np.stack(out, axis=1)


def linear(x, state, name):
    weight = state[f"{name}.weight"]
    return x @ weight.reshape(weight.shape[:2]).T + state[f"{name}.bias"]


def layer_norm(x, state, name):
    centred = x - x.mean(1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    return y * state[f"{name}.weight"] + state[f"{name}.bias"]


def attention(query, key, value, state, name, heads, forbidden=None):
    parts = zip(np.split(state[f"{name}.in_proj_weight"], 3),
                np.split(state[f"{name}.in_proj_bias"], 3),
                (query, key, value), strict=True)  # fmt: skip
    q, k, v = (x @ w.T + b for w, b, x in parts)
    mixed = []
    for h in np.split(np.arange(q.shape[1]), heads):
        scores = q[:, h] @ k[:, h].T / math.sqrt(len(h))
        if forbidden is not None:
            scores[forbidden] = -np.inf
        scores = np.exp(scores - scores.max(1, keepdims=True))
        mixed.append(scores / scores.sum(1, keepdims=True) @ v[:, h])
    return linear(np.concatenate(mixed, axis=1), state, f"{name}.out_proj")


def layer(x, state, name, pre_norm, inside):
    """A residual around `inside`, normed before or after."""
    if pre_norm:
        return x + inside(layer_norm(x, state, f"{name}.norm"))
    return layer_norm(x + inside(x), state, f"{name}.norm")


def step(x, query_pos, memory, forbidden, state, where, config):
    """Attention to voxels, attention among queries, and a feed-forward layer."""
    src, key_pos = memory

    def across(y):
        name = f"cross_attention.{where}.multihead_attn"
        args = (state, name, config.heads, forbidden)
        return attention(y + query_pos, src + key_pos, src, *args)

    def among(y):
        name = f"self_attention.{where}.self_attn"
        return attention(y + query_pos, y + query_pos, y, state, name, config.heads)

    def forward(y):
        y = np.maximum(linear(y, state, f"ffn_attention.{where}.linear1"), 0)
        return linear(y, state, f"ffn_attention.{where}.linear2")

    for name, inside in (("cross", across), ("self", among), ("ffn", forward)):
        x = layer(x, state, f"{name}_attention.{where}", config.pre_norm, inside)
    return x


def decode(state, config, coords, positions, features, segments=None):
    """Class and mask logits of one scene, and the voxels sampled.

    Args:
      state: f64 arrays by original name.
      config: `Mask3DConfig`.
      coords: [N, 3] voxels in the caller's order.
      positions: [N, 3] metres.
      features: stride -> {voxel: row} of the backbone.
      segments: [N] or None.
    """
    positions = np.asarray(positions, np.float64)
    finest = np.array([features[1][tuple(c)] for c in coords.tolist()])
    mask_features = finest @ state["mask_features_head.kernel"]
    mask_features = mask_features + state["mask_features_head.bias"]
    masked = mask_features
    if segments is not None:
        masked = np.array([mask_features[segments == s].mean(0)
                           for s in range(segments.max() + 1)])  # fmt: skip

    places = [(coords, positions)]
    for level in range(1, 5):
        places.append(pool(*places[-1], 2**level))
    width = config.width
    sampled = None
    if config.parametric_queries:
        x, query_pos = state["query_feat.weight"], state["query_pos.weight"]
    else:
        sampled = sample(coords, config.num_queries)
        low, high = positions.min(0), positions.max(0)
        encoded = encode(positions[sampled], low, high, state, width, config.encoding)
        query_pos = np.maximum(linear(encoded, state, "query_projection.layers.0"), 0)
        query_pos = np.maximum(linear(query_pos, state, "query_projection.layers.2"), 0)
        x = np.zeros_like(query_pos)
        if config.point_features:
            x = np.maximum(linear(finest[sampled], state, "np_feature_projection.0"), 0)
            x = linear(x, state, "np_feature_projection.2")

    def heads_of(x):
        x = layer_norm(x, state, "decoder_norm")
        embedded = np.maximum(linear(x, state, "mask_embed_head.0"), 0)
        embedded = linear(embedded, state, "mask_embed_head.2")
        return linear(x, state, "class_embed_head"), masked @ embedded.T

    for decoder in range(config.num_decoders):
        d = 0 if config.shared_decoder else decoder
        for i, hlevel in enumerate(config.hlevels):
            where, logits = coords, heads_of(x)[1]
            logits = logits if segments is None else logits[segments]
            for level in range(1, 5 - hlevel):
                where, logits = pool(where, logits, 2**level)
            forbidden = (logits < 0).T
            forbidden[forbidden.all(1)] = False
            key_place = places[4 - hlevel][1]
            span = key_place.min(0), key_place.max(0)
            key_pos = encode(key_place, *span, state, width, config.encoding)
            rows = features[2 ** (4 - hlevel)]
            src = np.array([rows[tuple(c)] for c in where.tolist()])
            src = linear(src, state, f"lin_squeeze.{d}.{i}")
            if config.level_embedding:
                src = src + state["level_embed.weight"][i]
            x = step(x, query_pos, (src, key_pos), forbidden, state, f"{d}.{i}", config)
    return *heads_of(x), sampled
