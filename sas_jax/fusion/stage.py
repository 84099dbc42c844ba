"""Fusion of one scene from and to the feature store.

The content key of a fused file covers the manifests of all features that go in, which
hold their checksums, so that fusing again after new features is never forgotten.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32

from sas_jax import memory
from sas_jax.artefacts.features import Features, load_features, superpoint_means
from sas_jax.artefacts.files import content_key, read_json, read_manifest, sha256_file
from sas_jax.artefacts.space import TextFeatures, TextSpace, one_space
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.artefacts.versions import decided_by
from sas_jax.errors import InputError
from sas_jax.fusion.fuse import FuseConfig, fuse

CAPABILITY = "sas_jax.capability/2"


def load_capability(
    paths: Mapping[str, pathlib.Path], names: Sequence[str], space: TextSpace
) -> Float32[np.ndarray, "T K"]:
    """Read the capability of each teacher on each class of a vocabulary.

    Args:
      paths: teacher -> JSON artefact whose `miou` maps class names to 0..1.
      names: classes in the order wanted; `other` is never measured and counts 0.
      space: text space of the features and texts that the table is to be used with.

    Raises:
      InputError: for a damaged file, a class without a measurement, or a table that
        was measured in another text space.
    """
    table = np.zeros((len(paths), len(names)), np.float32)
    for row, path in zip(table, paths.values(), strict=True):
        data = read_json(path, schema=CAPABILITY)
        measured = TextSpace.parse(data.get("text_space"), path)
        one_space("fuse", {"the texts": space, f"the capability in {path}": measured})
        miou = data["miou"]
        missing = [n for n in names if n not in miou and n != "other"]
        if missing:
            raise InputError(
                f"fuse: a capability for every class is required, got none for "
                f"{', '.join(missing)} ({path}). Measure with the same vocabulary."
            )
        row[:] = [miou.get(n) or 0.0 for n in names]
    return table


def _manifest(path: pathlib.Path) -> str:
    manifest = path.with_name(path.name + ".json")
    if not manifest.exists():
        raise InputError(
            f"fuse: an artefact with its manifest is required, got none ({path}). "
            "Run the stage that makes it."
        )
    return sha256_file(manifest)


def fused_key(
    features: Mapping[str, pathlib.Path],
    superpoints: pathlib.Path | None,
    capability: Float[np.ndarray, "T K"] | None,
    texts: TextFeatures | None,
    config: FuseConfig,
) -> str:
    """Return the content key of a scene's fused features; arguments as `fuse_scene`."""
    return content_key(
        {
            "stage": "fuse",
            "made_by": decided_by(__name__),
            "features": {name: _manifest(path) for name, path in features.items()},
            "order": list(features),
            "superpoints": None if superpoints is None else _manifest(superpoints),
            "tables": (capability, texts),
            "config": config,
        }
    )


def fuse_scene(
    features: Mapping[str, pathlib.Path],
    superpoints: pathlib.Path | None,
    capability: Float[np.ndarray, "T K"] | None,
    texts: TextFeatures | None,
    config: FuseConfig,
    points: Float[np.ndarray, "P 3"] | None = None,
) -> Features:
    """Read the features of all teachers and fuse them.

    Args:
      features: teacher -> file of its point features, in the order of `capability`.
      superpoints: file of superpoint ids for superpoint means, None for points.
      capability: see `fuse.fuse`.
      texts: see `fuse.fuse`.
      config: see `fuse.fuse`.
      points: of the scene, to be compared with those that the files are of; None
        compares the files with each other.

    Returns:
      Point or superpoint features of the scene.

    Raises:
      InputError: for missing, damaged or inconsistent files, or features that do not
        fit the memory that is free.
    """
    sizes = [read_manifest(path)["size"] for path in features.values()]
    memory.require(
        sum(sizes) + max(sizes, default=0),  # what goes in, and what comes out
        f"the features of {len(sizes)} teachers and their fusion",
        remedy="Thin the points (--thin_m) and extract again.",
    )
    loaded = {t: load_features(path, points) for t, path in features.items()}
    fused = fuse(loaded, capability, texts, config)
    if superpoints is None:
        return fused
    ids = load_superpoints(superpoints, points, geometry=fused.geometry)
    return superpoint_means(fused, ids)
