"""MinkUNet18A in PyTorch with spconv's layers, to compare with ours layer by layer.

Modules carry the names of our parameters, so `load` copies a tree of ours and both
networks return the same. Layers come from spconv or from a package with its interface.
Backward passes of spconv's build for CPUs ask CUDA for its stream; `patch_streams`
answers them.
"""

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from sas_jax.models.config import ARCHITECTURES, STEM_WIDTH
from sas_jax.models.minkunet import ENTRIES

# Voxels of all levels start at a multiple of the coarsest voxel's edge.
COARSEST = 16


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makes layers and tensors.

    Attributes:
      package: `spconv.pytorch`, or one with the same names.
      algo: one of its `ConvAlgo`; None leaves the choice to each layer.
    """

    package: ModuleType
    algo: Any = None

    def submanifold(self, c_in: int, c_out: int, size: int, key: str) -> nn.Module:
        """Return a convolution within one level."""
        return self.package.SubMConv3d(c_in, c_out, size, bias=False, indice_key=key,
                                       algo=self.algo)  # fmt: skip

    def step(self, c_in: int, c_out: int, key: str, down: bool) -> nn.Module:
        """Return the 2^3 convolution to the next level, or back along its pairs."""
        rest = {"bias": False, "indice_key": key, "algo": self.algo}
        if down:
            return self.package.SparseConv3d(c_in, c_out, 2, 2, **rest)
        return self.package.SparseInverseConv3d(c_in, c_out, 2, **rest)

    def tensor(self, features, voxels: np.ndarray, stride: int = 1):
        """Wrap features of voxels (batch, x, y, z), in units of level 0, of one level.

        Args:
          features: [N, C] tensor; the voxels are put on its device.
          voxels: [N, 4] int32, in any order, of one scene.
          stride: edge of the voxels in level-0 voxels.
        """
        axes = voxels[:, 1:] - voxels[:, 1:].min(axis=0) // COARSEST * COARSEST
        indices = np.concatenate([voxels[:, :1], axes // stride], axis=1)
        shape = (indices[:, 1:].max(axis=0) // COARSEST + 1) * COARSEST
        indices = torch.from_numpy(indices.astype(np.int32)).to(features.device)
        return self.package.SparseConvTensor(features, indices, shape.tolist(), 1)

    def again(self, tensor, features, cached: dict):
        """Return a tensor of the same voxels whose pairs are there already."""
        return self.package.SparseConvTensor(
            features, tensor.indices, tensor.spatial_shape, 1, indice_dict=cached
        )


def cpu_layers() -> Layers:
    """Return spconv's layers for CPUs."""
    import spconv.pytorch

    return Layers(spconv.pytorch, spconv.pytorch.ConvAlgo.Native)


def patch_streams() -> None:
    from spconv.pytorch import ops

    ops.get_current_stream = lambda: 0


def filters(weights: np.ndarray) -> torch.Tensor:
    """Return weights [K, C_in, C_out], x fastest, as [C_out, x, y, z, C_in]."""
    size = round(len(weights) ** (1 / 3))
    cube = weights.reshape(size, size, size, *weights.shape[1:])
    return torch.from_numpy(np.ascontiguousarray(cube.transpose(4, 2, 1, 0, 3)))


class Block(nn.Module):
    """conv-norm-relu-conv-norm, added to the input and rectified."""

    def __init__(self, make: Layers, c_in: int, c_out: int, key: str) -> None:
        super().__init__()
        self.conv1, self.norm1 = make.submanifold(c_in, c_out, 3, key), norm(c_out)
        self.conv2, self.norm2 = make.submanifold(c_out, c_out, 3, key), norm(c_out)
        if c_in != c_out:
            self.shortcut = nn.Linear(c_in, c_out, bias=False)
            self.shortcut_norm = norm(c_out)

    def forward(self, x):
        """Apply the layers."""
        y = self.conv1(x)
        y = self.conv2(y.replace_feature(torch.relu(self.norm1(y.features))))
        skip = x.features
        if hasattr(self, "shortcut"):
            skip = self.shortcut_norm(self.shortcut(skip))
        return y.replace_feature(torch.relu(self.norm2(y.features) + skip))


class Network(nn.Module):
    """What `sas_jax.models.minkunet.MinkUNet` computes."""

    def __init__(self, make: Layers, out_dim: int, arch: str = "MinkUNet18A") -> None:
        super().__init__()
        layers, widths = ARCHITECTURES[arch]
        self.layers = layers
        self.conv0p1s1 = make.submanifold(3, STEM_WIDTH, 5, "stem")
        self.bn0 = norm(STEM_WIDTH)
        skips, width = [STEM_WIDTH, *widths[:3]], STEM_WIDTH
        for stage, (entry, entry_norm) in enumerate(ENTRIES):
            down, level = stage < 4, stage + 1 if stage < 4 else 7 - stage
            entered = width if down else widths[stage]
            step = make.step(width, entered, f"step{min(stage, 7 - stage)}", down)
            setattr(self, entry, step)
            setattr(self, entry_norm, norm(entered))
            width = entered if down else entered + skips.pop()
            for i in range(layers[stage]):
                block = Block(make, width, widths[stage], f"level{level}")
                setattr(self, f"block{stage + 1}_{i}", block)
                width = widths[stage]
        self.final = nn.Linear(width, out_dim, bias=False)

    def forward(self, x):
        """Return the features of the voxels, in their order."""
        x = self.conv0p1s1(x)
        x = x.replace_feature(torch.relu(self.bn0(x.features)))
        skips = [x.features]
        for stage, (entry, entry_norm) in enumerate(ENTRIES):
            x = getattr(self, entry)(x)
            features = torch.relu(getattr(self, entry_norm)(x.features))
            if stage >= 4:
                features = torch.cat([features, skips.pop()], dim=1)
            x = x.replace_feature(features)
            for i in range(self.layers[stage]):
                x = getattr(self, f"block{stage + 1}_{i}")(x)
            if stage < 3:
                skips.append(x.features)
        return self.final(x.features)


def norm(width: int) -> nn.Module:
    return nn.BatchNorm1d(width, eps=1e-5)


def load(network: Network, variables: dict) -> None:
    """Copy our parameters and batch statistics into a network."""
    renamed = {"scale": "weight", "bias": "bias", "mean": "running_mean",
               "var": "running_var"}  # fmt: skip
    state = {}
    for tree in variables.values():
        for path, value in leaves(tree):
            value = np.asarray(value)
            if path[-1] != "kernel":
                value = torch.from_numpy(value.copy())
                state[".".join([*path[:-1], renamed[path[-1]]])] = value
            elif value.ndim == 2:
                value = torch.from_numpy(value.T.copy())
                state[".".join([*path[:-1], "weight"])] = value
            else:
                state[".".join([*path[:-1], "weight"])] = filters(value)
    missing, unexpected = network.load_state_dict(state, strict=False)
    absent = [name for name in missing if not name.endswith("num_batches_tracked")]
    if absent or unexpected:
        raise ValueError(f"load: the same parameters are required, got {absent} only "
                         f"there and {unexpected} only here.")  # fmt: skip


def leaves(tree: dict, path: tuple[str, ...] = ()):
    for name, value in tree.items():
        if hasattr(value, "items"):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value
