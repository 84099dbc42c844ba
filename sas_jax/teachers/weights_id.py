"""What a network is, whatever file or hub it came from: its weights and settings."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch


def weights_id(**networks: torch.nn.Module) -> str:
    """Return `sha256:<hex>` of the parameters and buffers of networks.

    A name or a path may stand for other weights tomorrow. Takes about a second for
    1.5 GB, less than loading them.

    Args:
      **networks: loaded networks, by what they are for.
    """
    digest = hashlib.sha256()
    for part, network in sorted(networks.items()):
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(f"{part}.{name} {tensor.dtype} {list(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a network or processor as JSON values.

    Names, paths and versions of the file are left out. Two networks of one shape may
    differ in nothing but these: how many heads share the channels, which activation.

    Args:
      config: of transformers or diffusers, as a mapping.
    """
    return {
        str(name): settings_of(value) if isinstance(value, Mapping) else repr(value)
        for name, value in sorted(config.items())
        if not str(name).startswith("_") and name not in ("transformers_version",)
    }
