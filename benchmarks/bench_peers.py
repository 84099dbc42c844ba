"""Time spconv's layers and a network of them beside ours, on the benchmark room.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/bench_peers.py [--repeats 9]

spconv runs as its users run it on a CPU: through its PyTorch layers, with the rules of
pairs cached for single layers and built anew for the network. One thread only: on
several its CPU results are wrong. Both sides get the same weights, and their results
are compared before they are timed. Needs torch and `pip install spconv`.
"""

import argparse
import os
import sys
from pathlib import Path

import jax
import measure
import numpy as np
import scene

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench_network
import spconv_network
import torch
from spconv import __version__ as spconv_version

from sas_jax import native_library
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.conv import sparse_conv
from sas_jax.sparse.plan import build_plan

LEVELS = (0, 1, 2)
WIDTHS = (64, 96, 128)
PEER, OURS = f"spconv {spconv_version}", "sas_jax"
# Of the largest value: float32 sums of a few thousand products, and some fifty layers.
LAYER_TOLERANCE, NETWORK_TOLERANCE = 1e-5, 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", choices=("layers", "network"))
    parser.add_argument("--out_dim", type=int, default=512)
    args = parser.parse_args()
    if measure.threads() != 1 or os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit(
            "bench_peers: one processor and OMP_NUM_THREADS=1 are required, got "
            f"{measure.threads()} and {os.environ.get('OMP_NUM_THREADS')}. Run it as "
            "its docstring says: spconv's CPU kernels are wrong on several threads."
        )
    native_library.keep_freed_memory()
    torch.set_num_threads(1)
    spconv_network.patch_streams()
    voxels = scene.room_voxels()
    plan, order = build_plan(voxels)
    if args.only != "network":
        for level in LEVELS:
            for width in WIDTHS:
                time_layer(plan, level, width, args.repeats)
    if args.only != "layers":
        time_network(plan, order, voxels, args)


def time_layer(plan, level: int, width: int, repeats: int) -> None:
    """Time a 3^3 layer forward, and forward with both gradients."""
    kmap, rows = plan.within(level, 3), int(plan.levels[level].num_valid)
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, kmap.capacity_in, width), np.float32)
    w = rng.standard_normal((27, width, width), np.float32)
    ours = our_layer(kmap, x, w, dy)
    theirs = spconv_layer(plan.levels[level], rows, x, w, dy)
    gflop = 2e-9 * np.count_nonzero(np.asarray(kmap.nbr) >= 0) * width**2
    for name, times in (("forward", 1), ("forward+backward", 3)):
        results = [run() for run in (ours[name], theirs[name])]
        for a, b in zip(*results, strict=True):
            compare(np.asarray(a)[: len(b)], b, LAYER_TOLERANCE)
        for peer, runs in ((OURS, ours), (PEER, theirs)):
            row = {"peer": peer, "layer": f"3^3 level {level}", "pass": name,
                   "channels": [width, width], "rows": rows}  # fmt: skip
            time_and_report(row, runs[name], times * gflop, repeats)


def our_layer(kmap, x, w, dy) -> dict:
    kmap, x, w, dy = jax.device_put((kmap, x, w, dy))

    def conv(x, w):
        return sparse_conv(x, w, kmap)

    def both(x, w, dy):
        y, back = jax.vjp(conv, x, w)
        return y, *back(dy)

    forward, both = jax.jit(conv), jax.jit(both)
    return {
        "forward": lambda: jax.block_until_ready((forward(x, w),)),
        "forward+backward": lambda: jax.block_until_ready(both(x, w, dy)),
    }


def spconv_layer(level, rows: int, x, w, dy) -> dict:
    make = spconv_network.cpu_layers()
    layer = make.submanifold(w.shape[1], w.shape[2], 3, "layer")
    layer.weight = torch.nn.Parameter(spconv_network.filters(w))
    coords = np.asarray(level.coords[:rows])
    tensor = make.tensor(torch.from_numpy(x[:rows]), coords, level.stride)
    cached = layer(tensor).indice_dict
    cotangent = torch.from_numpy(dy[:rows])

    def run(features):
        return layer(make.again(tensor, features, cached)).features

    def forward():
        with torch.no_grad():
            return (run(tensor.features).numpy(),)

    def both():
        features = tensor.features.requires_grad_()
        features.grad = layer.weight.grad = None
        y = run(features)
        y.backward(cotangent)
        dw = layer.weight.grad.numpy().transpose(3, 2, 1, 4, 0).reshape(w.shape)
        return y.detach().numpy(), features.grad.numpy(), dw

    return {"forward": forward, "forward+backward": both}


def time_network(plan, order, voxels, args) -> None:
    """Time a forward pass from raw voxels of a new scene."""
    network = MinkUNet(StudentConfig(out_dim=args.out_dim))
    variables = bench_network.random_variables(network, plan, constant_features(plan))
    apply = jax.jit(lambda v, p, x: network.apply(v, p, x, train=False))
    make = spconv_network.cpu_layers()
    peer = spconv_network.Network(make, args.out_dim).eval()
    spconv_network.load(peer, variables)
    ones = torch.ones((len(voxels), 3))

    def ours():
        new_plan, _ = build_plan(voxels)
        return apply(
            variables, new_plan, constant_features(new_plan)
        ).block_until_ready()

    def theirs():
        with torch.no_grad():
            return peer(make.tensor(ones, voxels)).numpy()

    compare(np.asarray(ours())[: len(voxels)], theirs()[order], NETWORK_TOLERANCE)
    gflop = bench_network.network_gflop(plan, variables["params"])
    for name, run in ((OURS, ours), (PEER, theirs)):
        row = {"peer": name, "layer": "MinkUNet18A", "pass": "forward, new scene",
               "voxels": len(voxels)}  # fmt: skip
        time_and_report(row, run, gflop, args.repeats)


def compare(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Refuse to time two different things."""
    worst = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)
    if not worst <= tolerance:
        raise SystemExit(
            f"bench_peers: results within {tolerance:g} of each other are required, "
            f"got {worst:.2g}. One of the implementations is wrong."
        )


def time_and_report(row: dict, run, gflop: float, repeats: int) -> None:
    limit, timing = measure.beside_limit(run, repeats)
    measure.report("peers", row, timing, gflop, limit)


if __name__ == "__main__":
    main()
