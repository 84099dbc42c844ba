"""Time the original Mask3D beside ours on the benchmark room, with the same weights.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/bench_mask3d_original.py \
        --original=CHECKOUT_OF_MASK3D [--points 150000] [--repeats 5]

Needs torch and MinkowskiEngine built for the CPU. A run is all of it on both sides:
voxels of the points, kernel maps, network, masks and classes as numpy. Results are
compared before they are timed, and the two run in turn. Three things that the original
imports are stood in for here: `hydra`, which only builds the backbone, `torch_scatter`,
of which it uses the mean, and farthest point sampling, which it has for CUDA alone; the
time of that last one is taken off the original's and not off ours. The engine lists
the voxels of one scene in another order than their features on a CPU, and the network
mixes the two: here they are listed as they lie, which costs nothing.
"""

import argparse
import os
import statistics
import sys
import time
import types
from pathlib import Path

import furnished_room
import measure
import MinkowskiEngine
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax

from sas_jax.instances.mask3d.config import SCANNET200 as CONFIG
from sas_jax.instances.mask3d.port import from_state
from sas_jax.instances.mask3d.predict import Predictor
from sas_jax.instances.mask3d.sampling import farthest_points

_SUPERPOINT_M = 0.3
# Attention masks are thresholds: one flipped bit moves what follows by about 1e-3.
_TOLERANCE = 5e-3
_sampling_s: list[tuple[float, float]] = []
_sampler = jax.jit(farthest_points, static_argnums=3)


def _sample(xyz: torch.Tensor, count: int) -> torch.Tensor:
    coords = xyz[0].numpy().astype(np.int32)
    chosen = []
    order, every = np.arange(len(coords), dtype=np.int32), np.ones(len(coords), bool)

    def sample() -> None:
        chosen.append(np.array(_sampler(coords, order, every, count)))

    _sampling_s.append(measure.time_once(sample))
    return torch.from_numpy(chosen[0])[None]


def _scatter_mean(rows: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    count = int(index.max()) + 1
    total = torch.zeros(count, rows.shape[1]).index_add_(dim, index, rows)
    return total / torch.bincount(index, minlength=count)[:, None]


def _module(name: str, **content: object) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    return module


def _original(checkout: str) -> torch.nn.Module:
    """Build the network of `CONFIG` from its authors' code, with random weights."""

    def backbone(settings: types.SimpleNamespace) -> torch.nn.Module:
        from models.res16unet import Res16UNet34C

        inner = types.SimpleNamespace(conv1_kernel_size=5, bn_momentum=0.02)
        return Res16UNet34C(3, CONFIG.num_classes, inner, out_fpn=True)

    _module("hydra", utils=types.SimpleNamespace(instantiate=backbone))
    _module("torch_scatter", scatter_mean=_scatter_mean, scatter_max=0, scatter_min=0)
    _module("third_party.pointnet2.pointnet2_utils", furthest_point_sample=_sample)
    listed = {
        "decomposed_coordinates": property(lambda voxels: [voxels.C[:, 1:]]),
        "decomposed_features": property(lambda voxels: [voxels.F]),
    }
    for name, rows in listed.items():
        setattr(MinkowskiEngine.SparseTensor, name, rows)
    sys.path.insert(0, checkout)
    from models.mask3d import Mask3D

    torch.manual_seed(0)
    network = Mask3D(
        config=types.SimpleNamespace(backbone=None),
        hidden_dim=CONFIG.width,
        num_queries=CONFIG.num_queries,
        num_heads=CONFIG.heads,
        dim_feedforward=CONFIG.hidden,
        sample_sizes=[],
        shared_decoder=True,
        num_classes=CONFIG.num_classes,
        num_decoders=CONFIG.num_decoders,
        dropout=0.0,
        pre_norm=False,
        positional_encoding_type="fourier",
        non_parametric_queries=True,
        train_on_segments=True,
        normalize_pos_enc=True,
        use_level_embed=False,
        scatter_type="mean",
        hlevels=list(CONFIG.hlevels),
        use_np_features=False,
        voxel_size=CONFIG.voxel_size_m,
        max_sample_size=False,
        random_queries=False,
        gauss_scale=1.0,
        random_query_both=False,
        random_normal=False,
    )
    _draw(network)
    return network.eval()


def _draw(network: torch.nn.Module) -> None:
    """Draw kernels that keep the variance of their input.

    With torch's own, features vanish on the way. The decoder keeps those: with larger
    ones the thresholds of its attention make chaos of the last bit.
    """
    chance = torch.Generator().manual_seed(0)
    for name, values in network.named_parameters():
        if name.endswith("kernel"):  # [K, in, out]; a third of K has a neighbour
            neighbours = 3 if values.dim() == 3 else 1
            bound = (3 * neighbours / values[..., 0].numel()) ** 0.5
            values.data.uniform_(-bound, bound, generator=chance)


@torch.no_grad()
def _propose(
    network: torch.nn.Module, points: np.ndarray, colors: np.ndarray, parts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    cells = np.floor(points / np.float32(CONFIG.voxel_size_m)).astype(np.int32)
    _, first = MinkowskiEngine.utils.sparse_quantize(cells, return_index=True)
    first = np.asarray(first)
    values = (colors[first] / 255 - CONFIG.color_mean) / CONFIG.color_std
    coords, features = MinkowskiEngine.utils.sparse_collate(
        [cells[first]], [values.astype(np.float32)]
    )
    voxels = MinkowskiEngine.SparseTensor(coordinates=coords, features=features)
    _, of_voxels = np.unique(parts[first], return_inverse=True)
    answer = network(
        voxels,
        point2segment=[torch.from_numpy(of_voxels)],
        raw_coordinates=torch.from_numpy(points[first]),
        is_eval=True,
    )
    return answer["pred_logits"][0].numpy(), answer["pred_masks"][0].numpy()


def _difference(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--original", required=True, help="checkout of Mask3D")
    parser.add_argument("--points", type=int, default=150_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", measure.threads())))
    points, _ = furnished_room.mesh(args.points)
    points = points.astype(np.float32)
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, points.shape).astype(np.uint8)
    grid = np.floor(points / _SUPERPOINT_M).astype(int)
    parts = np.unique(grid, axis=0, return_inverse=True)[1].ravel()
    network = _original(args.original)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    ours = Predictor(CONFIG, from_state(state, CONFIG))
    began = time.perf_counter()
    mine = ours.propose(points, colors, parts)
    first_s = time.perf_counter() - began
    classes, masks = _propose(network, points, colors, parts)
    differences = (
        _difference(mine.class_logits, classes),
        _difference(mine.mask_logits, masks),
    )
    print(f"relative difference of classes and masks: {differences}, {first_s:.1f} s")
    if max(differences) > _TOLERANCE:
        raise SystemExit(f"bench_mask3d_original: results differ: {differences}")
    samples: dict[str, list[tuple[float, float]]] = {"original": [], "sas_jax": []}
    _sampling_s.clear()
    for _ in range(args.repeats):
        theirs = measure.time_once(lambda: _propose(network, points, colors, parts))
        spent = _sampling_s.pop()
        samples["original"].append((theirs[0] - spent[0], theirs[1] - spent[1]))
        samples["sas_jax"].append(
            measure.time_once(lambda: ours.propose(points, colors, parts))
        )
    row = {"what": "Mask3D Res16UNet34C", "points": len(points)}
    row |= {"queries": CONFIG.num_queries, "difference": f"{max(differences):.1e}"}
    for who, times in samples.items():
        wall, cpu = map(statistics.median, zip(*times, strict=True))
        row[f"{who}_wall_s"], row[f"{who}_cpu_s"] = round(wall, 2), round(cpu, 2)
    row["times_as_fast_wall"] = round(row["original_wall_s"] / row["sas_jax_wall_s"], 2)
    row["times_as_fast_cpu"] = round(row["original_cpu_s"] / row["sas_jax_cpu_s"], 2)
    measure.append("mask3d_original", row)


if __name__ == "__main__":
    main()
