"""Mask3D: a sparse U-Net, and queries that attend to its voxels within their masks.

Each query asks a level's voxels for features, but only those that its own mask so far
covers; four levels, coarse to fine, and the same again: every step sharpens the masks.

Masks are products of voxels' mask features with a vector of the query, and where a
query may look on a coarser level is the mean of its logits there. The mean of products
is the product of the mean: mask features are pooled once, not logits at every step.

Source: Mask3D (Schult et al., ICRA 2023). Submodules carry the names of its weights.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sas_jax.instances.mask3d import positions
from sas_jax.instances.mask3d.config import LEVELS, Mask3DConfig
from sas_jax.instances.mask3d.layers import (
    AttentionLayer,
    FeedForward,
    LayerNorm,
    Linear,
    Perceptron,
)
from sas_jax.instances.mask3d.parts import Backbone, Encoding, MaskFeatures, Table
from sas_jax.instances.mask3d.rows import pooled, segment_means
from sas_jax.instances.mask3d.sampling import farthest_points
from sas_jax.instances.mask3d.scenes import Scenes


class Masks(NamedTuple):
    """What the network says of one scene of a batch.

    Attributes:
      class_logits: [Q, K] of each query, "no object" the last class.
      mask_logits: [M, Q] of each query's mask: above 0 is inside. M rows of level 0 or
        segments, those of other scenes and padding included.
      sampled: i32 [Q] row of level 0 where each query began, or None.
    """

    class_logits: Float[Array, "Q K"]
    mask_logits: Float[Array, "M Q"]
    sampled: Int32[Array, " Q"] | None


class _Level(NamedTuple):
    """What queries of a scene may attend to on one level."""

    member: Bool[Array, " N"]
    features: Float[Array, "N C"]
    mask_features: Float[Array, "N D"]
    place: Float[Array, "N 3"]
    span: tuple[Float[Array, " 3"], Float[Array, " 3"]]


class _Step(NamedTuple):
    """A step of the decoder: what it began with, in between, and its queries."""

    class_logits: Float[Array, "Q K"]
    embedded: Float[Array, "Q D"]
    logits: Float[Array, "N Q"]
    attended: Bool[Array, "N Q"]
    src: Float[Array, "N C"]
    key_pos: Float[Array, "N C"]
    cross: Float[Array, "Q C"]
    among: Float[Array, "Q C"]
    ffn: Float[Array, "Q C"]


class Mask3D(nn.Module):
    """The whole network."""

    config: Mask3DConfig

    def setup(self) -> None:
        """Name the parts as the weights do."""
        config = self.config
        width = config.width
        self.backbone = Backbone(config)
        self.mask_features_head = MaskFeatures(config)
        self.mask_embed_head = Perceptron(width)
        self.class_embed_head = Linear(config.num_classes)
        self.pos_enc = Encoding(config)
        self.decoder_norm = LayerNorm()
        if config.parametric_queries:
            self.query_feat = Table(config.num_queries, width)
            self.query_pos = Table(config.num_queries, width)
        else:
            self.query_projection = Perceptron(width, "layers_", True, True)
        if config.point_features:
            self.np_feature_projection = Perceptron(width)
        levels = range(len(config.hlevels))
        if config.level_embedding:
            self.level_embed = Table(len(levels), width)
        sets = range(config.decoder_sets)
        heads, norm = config.heads, config.pre_norm
        self.lin_squeeze = [[Linear(width) for _ in levels] for _ in sets]
        self.cross_attention = [
            [AttentionLayer(heads, "multihead_attn", norm) for _ in levels]
            for _ in sets
        ]
        self.self_attention = [
            [AttentionLayer(heads, "self_attn", norm) for _ in levels] for _ in sets
        ]
        self.ffn_attention = [
            [FeedForward(config.hidden, norm) for _ in levels] for _ in sets
        ]

    def __call__(self, scenes: Scenes) -> list[Masks]:
        """Propose masks for every scene of a batch.

        Masks decide by thresholds where queries look, so products are not rounded to
        fewer digits than their factors have, on GPUs neither.
        """
        with jax.default_matmul_precision("highest"):
            plan = scenes.plan
            features = self.backbone(plan, scenes.colors)
            num_valid = plan.levels[0].num_valid
            mask_features = self.mask_features_head(features[-1], num_valid)
            place = pooled(scenes.positions, plan)
            segments = None
            if scenes.segments is not None:
                segments = segment_means(
                    mask_features, scenes.segments, scenes.segment_capacity
                )
                # A voxel's mask is that of its segment; -1 is padding, whatever it is.
                mask_features = segments[scenes.segments]
            masked = pooled(mask_features, plan)
            rows = mask_features if segments is None else segments
            return [
                self._scene(
                    self._levels(scenes, scene, features, masked, place), scenes, rows
                )
                for scene in range(scenes.num_scenes)
            ]

    def _levels(
        self,
        scenes: Scenes,
        scene: int,
        features: list[Array],
        masked: list[Array],
        place: list[Array],
    ) -> list[_Level]:
        """Return the levels of a scene, coarsest first, the finest last."""
        levels = []
        for index in reversed(range(LEVELS)):
            level = scenes.plan.levels[index]
            valid = jnp.arange(len(level.coords), dtype=jnp.int32) < level.num_valid
            member = valid & (level.coords[:, 0] == scene)
            feature = features[LEVELS - 1 - index]
            span = positions.spanned(place[index], member)
            levels.append(_Level(member, feature, masked[index], place[index], span))
        return levels

    def _scene(
        self, levels: list[_Level], scenes: Scenes, rows: Float[Array, "M D"]
    ) -> Masks:
        """Run the decoder on a scene; `rows` are what final masks are of."""
        config = self.config
        x, query_pos, sampled = self._queries(levels[-1], scenes)

        def once(module: "Mask3D", x: Array, index: int) -> tuple[Array, list[_Step]]:
            steps = module._pass(x, query_pos, levels, index)
            return steps[-1].ffn, steps if keep else []

        keep = self.is_mutable_collection("intermediates")
        if config.shared_decoder:
            # One pass is compiled, not every one.
            again = nn.scan(
                lambda module, x, _: once(module, x, 0),
                variable_broadcast="params",
                split_rngs={"params": False},
                length=config.num_decoders,
            )
            x, kept = again(self, x, None)
            passes = [
                jax.tree.map(lambda stacked, d=d: stacked[d], kept)
                for d in range(config.num_decoders)
            ]
        else:
            passes = []
            for decoder in range(config.num_decoders):
                x, kept = once(self, x, decoder)
                passes.append(kept)
        for number, step in enumerate(step for steps in passes for step in steps):
            self.sow("intermediates", f"step{number:02d}", step)
        classes, embedded = self._heads(x)
        return Masks(classes, rows @ embedded.T, sampled)

    def _pass(
        self,
        x: Float[Array, "Q C"],
        query_pos: Float[Array, "Q C"],
        levels: list[_Level],
        index: int,
    ) -> list[_Step]:
        """Let queries attend to every level once, with one set of weights."""
        steps = []
        for i, hlevel in enumerate(self.config.hlevels):
            level = levels[hlevel]
            classes, embedded = self._heads(x)
            logits = level.mask_features @ embedded.T
            attended = _attended(logits, level.member)
            src = self.lin_squeeze[index][i](level.features)
            if self.config.level_embedding:
                src = src + self.level_embed(src.dtype)[i][None]
            key_pos = self.pos_enc(level.place, level.span)
            memory = (src, key_pos)
            cross = self.cross_attention[index][i](x, query_pos, memory, attended)
            among = self.self_attention[index][i](cross, query_pos)
            x = self.ffn_attention[index][i](among)
            steps.append(
                _Step(classes, embedded, logits, attended, *memory, cross, among, x)
            )
        return steps

    def _queries(
        self, finest: _Level, scenes: Scenes
    ) -> tuple[Array, Array, Array | None]:
        """Return the queries at the start, their positions, and the rows sampled."""
        config = self.config
        if config.parametric_queries:
            dtype = finest.features.dtype
            return self.query_feat(dtype), self.query_pos(dtype), None
        coords = scenes.plan.levels[0].coords[:, 1:]
        sampled = farthest_points(
            coords, scenes.number, finest.member, config.num_queries
        )
        encoded = self.pos_enc(finest.place[sampled], finest.span)
        query_pos = self.query_projection(encoded)
        if self.is_mutable_collection("intermediates"):
            self.sow("intermediates", "query_posenc", encoded)
            self.sow("intermediates", "query_pos", query_pos)
        if config.point_features:
            x = self.np_feature_projection(finest.features[sampled])
        else:
            x = jnp.zeros_like(query_pos)
        return x, query_pos, sampled

    def _heads(self, x: Float[Array, "Q C"]) -> tuple[Array, Array]:
        """Return class logits of queries, and what their masks are products with."""
        x = self.decoder_norm(x)
        return self.class_embed_head(x), self.mask_embed_head(x)


def _attended(
    logits: Float[Array, "N Q"], member: Bool[Array, " N"]
) -> Bool[Array, "N Q"]:
    """Return where queries may look: within their masks, or all over without one."""
    inside = (logits >= 0) & member[:, None]
    empty = ~jnp.any(inside, axis=0)
    return inside | (empty[None] & member[:, None])
