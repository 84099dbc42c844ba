"""ODISE's trained parts under their published names, step by step.

Independent of the library and of transformers: Mask2Former as its paper and its
checkpoints' names say, attention by explicit products, samples by explicit corners.
"""

import math

import torch
from torch.nn import functional as F  # noqa: N812


def names(config, taps, tokens, text_dim, time_dim):
    """Published name -> shape."""
    h, m, c, p = (
        config.hidden_dim,
        config.mask_dim,
        config.clip_dim,
        config.pyramid_dim,
    )
    out = {"category_head.null_embed": (1, c)}

    def linear(name, to, of, bias=True):
        out[f"{name}.weight"] = (to, of)
        if bias:
            out[f"{name}.bias"] = (to,)

    def norm(name, dim):
        out[f"{name}.weight"] = out[f"{name}.bias"] = (dim,)

    def conv(name, to, of, edge):
        out[f"{name}.weight"] = (to, of, edge, edge)
        norm(f"{name}.norm", to)

    e = "backbone.feature_extractor"
    linear(f"{e}.clip_project.linear", text_dim, c)
    out[f"{e}.clip_project.positional_embedding"] = (1, tokens, text_dim)
    linear(f"{e}.time_embed_project.linear", time_dim, c)
    out[f"{e}.time_embed_project.positional_embedding"] = (1, 1, time_dim)
    out[f"{e}.alpha_cond"] = (1, tokens, text_dim)
    out[f"{e}.alpha_cond_time_embed"] = (time_dim,)
    for i, channels in enumerate(taps):
        b = f"backbone.feature_projections.{i}.0"
        conv(f"{b}.conv1", p // 4, channels, 1)
        conv(f"{b}.conv2", p // 4, p // 4, 3)
        conv(f"{b}.conv3", p, p // 4, 1)
        if channels != p:
            conv(f"{b}.shortcut", p, channels, 1)
    d = "sem_seg_head.pixel_decoder"
    for level in range(3):
        out[f"{d}.input_proj.{level}.0.weight"] = (h, p, 1, 1)
        out[f"{d}.input_proj.{level}.0.bias"] = (h,)
        norm(f"{d}.input_proj.{level}.1", h)
    out[f"{d}.transformer.level_embed"] = (3, h)
    for i in range(config.encoder_layers):
        b = f"{d}.transformer.encoder.layers.{i}"
        linear(f"{b}.self_attn.sampling_offsets", config.heads * 3 * 4 * 2, h)
        linear(f"{b}.self_attn.attention_weights", config.heads * 3 * 4, h)
        linear(f"{b}.self_attn.value_proj", h, h)
        linear(f"{b}.self_attn.output_proj", h, h)
        linear(f"{b}.linear1", config.encoder_ffn_dim, h)
        linear(f"{b}.linear2", h, config.encoder_ffn_dim)
        norm(f"{b}.norm1", h)
        norm(f"{b}.norm2", h)
    conv(f"{d}.adapter_1", h, p, 1)
    conv(f"{d}.layer_1", h, h, 3)
    out[f"{d}.mask_features.weight"] = (m, h, 1, 1)
    out[f"{d}.mask_features.bias"] = (m,)
    s = "sem_seg_head.predictor"
    for kind, inner in (("self", "self_attn"), ("cross", "multihead_attn")):
        for i in range(config.decoder_layers):
            b = f"{s}.transformer_{kind}_attention_layers.{i}"
            out[f"{b}.{inner}.in_proj_weight"] = (3 * h, h)
            out[f"{b}.{inner}.in_proj_bias"] = (3 * h,)
            linear(f"{b}.{inner}.out_proj", h, h)
            norm(f"{b}.norm", h)
    for i in range(config.decoder_layers):
        b = f"{s}.transformer_ffn_layers.{i}"
        linear(f"{b}.linear1", config.decoder_ffn_dim, h)
        linear(f"{b}.linear2", h, config.decoder_ffn_dim)
        norm(f"{b}.norm", h)
    norm(f"{s}.decoder_norm", h)
    for name in ("query_feat", "query_embed"):
        out[f"{s}.{name}.weight"] = (config.queries, h)
    out[f"{s}.level_embed.weight"] = (3, h)
    for i, to in enumerate((h, h, m)):
        linear(f"{s}.mask_embed.layers.{i}", to, h)
    norm(f"{s}.post_mask_embed.pool_proj.0", m)
    linear(f"{s}.post_mask_embed.pool_proj.1", h, m)
    norm(f"{s}.post_mask_embed.mask_embed.0", h)
    for i, to in enumerate((h, h, c)):
        linear(f"{s}.post_mask_embed.mask_embed.1.layers.{i}", to, h)
    out[f"{s}.post_mask_embed.logit_scale"] = ()
    return out


def sine(rows, columns, dim):
    """DETR's positions, one number after the other."""
    out = torch.zeros(dim, rows, columns)
    half = dim // 2
    for y in range(rows):
        for x in range(columns):
            for i in range(half):
                rate = 10000 ** (2 * (i // 2) / half)
                wave = math.sin if i % 2 == 0 else math.cos
                out[i, y, x] = wave((y + 1) / (rows + 1e-6) * 2 * math.pi / rate)
                out[half + i, y, x] = wave(
                    (x + 1) / (columns + 1e-6) * 2 * math.pi / rate
                )
    return out


def _linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def _conv(w, name, x, norm, groups=32, padding=0):
    x = F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=padding)
    return F.group_norm(x, groups, w[f"{norm}.weight"], w[f"{norm}.bias"])


def bottleneck(w, name, x):
    def conv(part, y, padding=0):
        full = f"{name}.{part}"
        groups = min(32, w[f"{full}.weight"].shape[0])
        return _conv(w, full, y, f"{full}.norm", groups, padding)

    y = F.relu(conv("conv2", F.relu(conv("conv1", x)), 1))
    straight = conv("shortcut", x) if f"{name}.shortcut.weight" in w else x
    return F.relu(conv("conv3", y) + straight)


def _corners(map_, x, y):
    """Bilinear samples of [D, H, W] at pixel positions [n]; zeros outside."""
    height, width = map_.shape[1:]
    total = 0
    for dy in (0, 1):
        for dx in (0, 1):
            i, j = y.floor().long() + dy, x.floor().long() + dx
            share = (1 - (y - i).abs()) * (1 - (x - j).abs())
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            value = map_[:, i.clamp(0, height - 1), j.clamp(0, width - 1)]
            total = total + value * (share * inside)
    return total


def _deformable(w, name, query, source, sizes, heads):
    n, dim = query.shape
    points, levels, each = 4, len(sizes), dim // heads
    offsets = _linear(w, f"{name}.sampling_offsets", query)
    offsets = offsets.view(n, heads, levels, points, 2)
    weights = _linear(w, f"{name}.attention_weights", query)
    weights = weights.view(n, heads, levels * points).softmax(-1)
    weights = weights.view(n, heads, levels, points)
    centres = torch.cat(
        [
            torch.tensor([((x + 0.5) / b, (y + 0.5) / a)])
            for a, b in sizes
            for y in range(a)
            for x in range(b)
        ]
    )
    value = _linear(w, f"{name}.value_proj", source)
    out = torch.zeros(n, heads, each)
    start = 0
    for level, (a, b) in enumerate(sizes):
        part = value[start : start + a * b].view(a, b, heads, each)
        start += a * b
        for head in range(heads):
            map_ = part[:, :, head].permute(2, 0, 1)
            for point in range(points):
                shift = offsets[:, head, level, point]
                x = centres[:, 0] * b + shift[:, 0] - 0.5
                y = centres[:, 1] * a + shift[:, 1] - 0.5
                sample = _corners(map_, x, y).T
                out[:, head] += weights[:, head, level, point, None] * sample
    return _linear(w, f"{name}.output_proj", out.reshape(n, dim))


def pixels(w, maps, heads, layers):
    """Multi-scale features, coarse to fine, and mask features, of one image."""
    d = "sem_seg_head.pixel_decoder"
    sources, places, sizes = [], [], []
    for level, map_ in enumerate(maps[:0:-1]):
        name = f"{d}.input_proj.{level}"
        x = _conv(w, f"{name}.0", map_, f"{name}.1")[0]
        sizes.append(x.shape[1:])
        position = sine(*x.shape[1:], len(x)).flatten(1).T
        places.append(position + w[f"{d}.transformer.level_embed"][level])
        sources.append(x.flatten(1).T)
    source, place = torch.cat(sources), torch.cat(places)
    for i in range(layers):
        b = f"{d}.transformer.encoder.layers.{i}"
        seen = _deformable(w, f"{b}.self_attn", source + place, source, sizes, heads)
        source = _norm(w, f"{b}.norm1", source + seen)
        inner = _linear(w, f"{b}.linear2", F.relu(_linear(w, f"{b}.linear1", source)))
        source = _norm(w, f"{b}.norm2", source + inner)
    scales = [
        part.T.reshape(-1, *size)
        for part, size in zip(
            source.split([a * b for a, b in sizes]), sizes, strict=True
        )
    ]
    fine = _conv(w, f"{d}.adapter_1", maps[0], f"{d}.adapter_1.norm")
    fine = fine + F.interpolate(
        scales[-1][None], fine.shape[-2:], mode="bilinear", align_corners=False
    )
    fine = F.relu(_conv(w, f"{d}.layer_1", fine, f"{d}.layer_1.norm", padding=1))
    name = f"{d}.mask_features"
    return scales, F.conv2d(fine, w[f"{name}.weight"], w[f"{name}.bias"])[0]


def _attend(w, name, query, key, value, heads, hidden=None):
    each = query.shape[1] // heads
    weight, bias = w[f"{name}.in_proj_weight"], w[f"{name}.in_proj_bias"]
    q, k, v = (
        (x @ a.T + b).view(len(x), heads, each).transpose(0, 1)
        for x, a, b in zip(
            (query, key, value), weight.chunk(3), bias.chunk(3), strict=True
        )
    )
    scores = q @ k.transpose(1, 2) / each**0.5
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    out = (scores.softmax(-1) @ v).transpose(0, 1).reshape(len(query), -1)
    return _linear(w, f"{name}.out_proj", out)


def _mlp(w, name, x):
    for i in range(3):
        x = _linear(w, f"{name}.{i}", x)
        x = F.relu(x) if i < 2 else x
    return x


def masks(w, scales, features, heads, layers):
    """Mask logits [Q, h, w] and embeddings [Q, P] of one image."""
    s = "sem_seg_head.predictor"
    where = w[f"{s}.query_embed.weight"]
    keys = [
        scale.flatten(1).T + level
        for scale, level in zip(scales, w[f"{s}.level_embed.weight"], strict=True)
    ]
    places = [sine(*x.shape[1:], len(x)).flatten(1).T for x in scales]

    def predicted(queries):
        normed = _norm(w, f"{s}.decoder_norm", queries)
        embedded = _mlp(w, f"{s}.mask_embed.layers", normed)
        return normed, torch.einsum("qc,chw->qhw", embedded, features)

    queries = w[f"{s}.query_feat.weight"]
    normed, logits = predicted(queries)
    for i in range(layers):
        level = i % 3
        small = F.interpolate(
            logits[None],
            scales[level].shape[1:],
            mode="bilinear",
            align_corners=False,
        )[0]
        hidden = (small < 0).flatten(1)
        hidden[hidden.all(1)] = False
        b = f"{s}.transformer_cross_attention_layers.{i}"
        seen = _attend(
            w,
            f"{b}.multihead_attn",
            queries + where,
            keys[level] + places[level],
            keys[level],
            heads,
            hidden,
        )
        queries = _norm(w, f"{b}.norm", queries + seen)
        b = f"{s}.transformer_self_attention_layers.{i}"
        both = queries + where
        seen = _attend(w, f"{b}.self_attn", both, both, queries, heads)
        queries = _norm(w, f"{b}.norm", queries + seen)
        b = f"{s}.transformer_ffn_layers.{i}"
        inner = _linear(w, f"{b}.linear2", F.relu(_linear(w, f"{b}.linear1", queries)))
        queries = _norm(w, f"{b}.norm", queries + inner)
        normed, logits = predicted(queries)
    p = f"{s}.post_mask_embed"
    pooled = torch.stack(
        [
            features[:, mask > 0].mean(1) if (mask > 0).any() else 0 * features[:, 0, 0]
            for mask in logits
        ]
    )
    joined = normed + _linear(
        w, f"{p}.pool_proj.1", _norm(w, f"{p}.pool_proj.0", pooled)
    )
    normed = _norm(w, f"{p}.mask_embed.0", joined)
    return logits, _mlp(w, f"{p}.mask_embed.1.layers", normed)
