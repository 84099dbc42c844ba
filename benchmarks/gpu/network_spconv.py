"""Measure MinkUNet18A with spconv's layers, in one precision: a worker of network.py.

    python network_spconv.py REFERENCE.npz spconv|spconv_triton f32|tf32|f16

The same scene, weights and loss as network_jax.py. f16 is the whole network in half
precision for the forward, and autocast for the training step, as its users train.
"""

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType

import jax
import network_jax
import numpy as np
import rows
import spconv_network
import timing
import torch
from workers import wait_for_turn

from sas_jax.models.minkunet import constant_features
from sas_jax.sparse.plan import build_plan

# Features, gradients: relative errors, as in precisions.py; f16 keeps 11 bits as well.
# Relative errors that the features and the gradients may have. spconv's tf32 is off by
# 2.4e-2 and its float16 by 1.2e-2 after some fifty layers: rows say so.
ERRORS = {"f32": (1e-5, 2e-2), "tf32": (5e-2, 3e-1), "f16": (2e-2, 3e-1)}


class PairMemo:
    """Remembers the pairs that a package finds, so that a known scene costs nothing.

    The package itself keeps pairs for layers within a level only.

    Attributes:
      known: what was found, by which search; None to search anew every time.
    """

    SEARCHES = ("get_indice_pairs", "get_indice_pairs_implicit_gemm")

    def __init__(self, ops: ModuleType) -> None:
        self.known: dict | None = None
        for name in self.SEARCHES:
            setattr(ops, name, self._remembered(name, getattr(ops, name)))

    def _remembered(self, name: str, find: Callable) -> Callable:
        signature = inspect.signature(find)

        def search(*args, **kwargs):
            if self.known is None:
                return find(*args, **kwargs)
            arguments = signature.bind(*args, **kwargs).arguments
            key = (name, len(arguments["indices"]), str(arguments["ksize"]))
            if key not in self.known:
                self.known[key] = find(*args, **kwargs)
            return self.known[key]

        return search


class Peer:
    """The network with one package's layers, on the day's device."""

    def __init__(self, package: str, precision: str) -> None:
        module = importlib.import_module(f"{package}.pytorch")
        constants = importlib.import_module(f"{package}.constants")
        tf32 = precision == "tf32"
        constants.SPCONV_ALLOW_TF32 = tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        self.memo = PairMemo(importlib.import_module(f"{package}.pytorch.ops"))
        self.make = spconv_network.Layers(module)
        if rows.REHEARSE:
            spconv_network.patch_streams()
            self.make = spconv_network.cpu_layers()
        self.half = precision == "f16" and not rows.REHEARSE
        # Gradients of a mean over all features are too small for float16.
        self.scale = 2.0**16 if self.half else 1.0
        self.voxels = network_jax.room.voxels()
        plan, self.order = build_plan(self.voxels)
        network = network_jax.MinkUNet(
            network_jax.StudentConfig(network_jax.ARCH, out_dim=network_jax.OUT_DIM)
        )
        self.num_rows = len(plan.levels[0].coords)  # with the padding, as our loss
        variables = network_jax.bench_network.random_variables(
            network, plan, constant_features(plan)
        )
        self.network = spconv_network.Network(
            self.make, network_jax.OUT_DIM, network_jax.ARCH
        )
        spconv_network.load(self.network, variables)
        self.network.to(rows.DEVICE)
        self.names = [name for name, _ in network_jax.flat(variables["params"])]
        self.row = {"impl": package, "precision": precision}
        self.new_scene(torch.float32)

    def new_scene(self, dtype: torch.dtype) -> None:
        """Copy the voxels to the device anew; their pairs are not known."""
        ones = torch.ones((len(self.voxels), 3), dtype=dtype, device=rows.DEVICE)
        self.tensor = self.make.tensor(ones, self.voxels)

    def again(self):
        """Return the scene's tensor as it was before the network saw it."""
        return self.make.again(self.tensor, self.tensor.features, {})

    def autocast(self):
        """Return a context that is half precision, if this peer is."""
        if not self.half:
            return contextlib.nullcontext()
        return torch.autocast("cuda", dtype=torch.float16)

    def forward(self):
        """Run the network on voxels whose pairs are there."""
        with torch.no_grad():
            return self.network(self.again())

    def forward_new(self):
        """Run the network from voxels in host memory."""
        with torch.no_grad():
            self.new_scene(self.tensor.features.dtype)
            return self.network(self.tensor)

    def train(self):
        """Run a training step: loss and all gradients."""
        self.network.zero_grad(set_to_none=True)
        with self.autocast():
            y = self.network(self.again()).float()
            loss = torch.sin(y).sum() / (self.num_rows * y.shape[1])
        (loss * self.scale).backward()
        return loss.detach()

    def gradients(self) -> np.ndarray:
        """Return all gradients as one vector, in our order and layout."""
        found = dict(self.network.named_parameters())
        parts = []
        for name in self.names:
            *modules, leaf = name.split("/")
            theirs = {"kernel": "weight", "scale": "weight", "bias": "bias"}[leaf]
            grad = found[".".join([*modules, theirs])].grad.float().cpu().numpy()
            if grad.ndim == 5:  # [C_out, x, y, z, C_in]
                grad = grad.transpose(3, 2, 1, 4, 0)
            elif grad.ndim == 2:
                grad = grad.T
            parts.append(grad.ravel())
        return np.concatenate(parts) / self.scale


def wait(_) -> None:
    if not rows.REHEARSE:
        torch.cuda.synchronize()


def measure(peer: Peer, what: str, run, errors: dict) -> None:
    cuda = not rows.REHEARSE
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    timed = timing.time_calls(run, wait)
    peak = round(torch.cuda.max_memory_allocated() / 1e6) if cuda else None
    rows.write("network", **peer.row, what=what, voxels=len(peer.voxels), peak_mb=peak,
               **errors, **timed)  # fmt: skip


def main() -> None:
    reference_path, package, precision = sys.argv[1:]
    row = {"impl": package, "precision": precision}
    failures = rows.Failures("network")
    peer = None
    try:
        peer = Peer(package, precision)
    except Exception as error:
        with failures.case(**row, what="build"):
            raise error
    wait_for_turn()
    if peer is not None:
        run_cases(peer, reference_path, failures)
    failures.exit()


def run_cases(peer: Peer, reference_path: str, failures: rows.Failures) -> None:
    """Training first: the forward may turn the network to half precision."""
    forward_error, gradient_error = ERRORS[peer.row["precision"]]
    with np.load(reference_path) as archive:
        reference = dict(archive)
    with failures.case(**peer.row, what="train"):
        peer.network.train()
        peer.memo.known = {}
        loss = float(peer.train())
        expected = np.concatenate([reference[f"train.{n}"].ravel() for n in peer.names])
        error = timing.require_close(
            "train: gradients", peer.gradients(), expected, gradient_error
        )
        loss_error = abs(loss / float(reference["train.loss"]) - 1)
        measure(peer, "train", peer.train,
                {"error": error, "loss_error": float(f"{loss_error:.2e}")})  # fmt: skip
    with failures.case(**peer.row, what="forward"):
        peer.network.zero_grad(set_to_none=True)
        reload(peer)
        peer.network.eval()
        dtype = torch.float16 if peer.half else torch.float32
        peer.network.to(dtype)
        peer.new_scene(dtype)
        peer.half = False  # no autocast: everything is half already
        peer.memo.known = {}
        got = peer.forward().float().cpu().numpy()[peer.order]
        error = timing.require_close("forward", got, reference["features"],
                                     forward_error)  # fmt: skip
        measure(peer, "forward", peer.forward, {"error": error})
        peer.memo.known = None
        measure(peer, "forward, new scene", peer.forward_new, {})


def reload(peer: Peer) -> None:
    """Set the batch statistics back to what they were before training."""
    for module in peer.network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.fill_(1.0)
            module.running_var.fill_(1.0)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
