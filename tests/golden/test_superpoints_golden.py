"""Superpoints against ScanNet's mesh segmentator, as partitions.

The case `clean` is left out: all its weights tie, and the original sorts unstably.
"""

import numpy as np
import pytest

from sas_jax.superpoints import native
from sas_jax.superpoints.graph import edge_weights
from sas_jax.superpoints.segment import segment_graph, segment_mesh

SETTINGS = {
    "k0.01_m20": (0.01, 20),
    "k0.01_m60": (0.01, 60),
    "k0.05_m20": (0.05, 20),
    "k0.001_m5": (0.001, 5),
}
IMPLS = ["numpy", "native"]


@pytest.fixture(scope="module")
def truth(golden):
    with np.load(golden / "superpoints.npz", allow_pickle=False) as data:
        return dict(data)


def canonical(labels):
    """Renumber segments by first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def require(impl):
    if impl == "native" and not native.available():
        pytest.skip("the native library is not built")


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", ["noisy", "noisier"])
def test_mesh(truth, case, setting, impl):
    require(impl)
    k_threshold, min_vertices = SETTINGS[setting]
    labels = segment_mesh(
        truth[f"{case}.vertices"],
        truth[f"{case}.faces"],
        k_threshold=k_threshold,
        min_vertices=min_vertices,
        impl=impl,
    )
    expected = canonical(truth[f"{case}.{setting}.labels"])
    assert expected.max() > 10
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("setting", ["k0.01_m20", "k0.05_m20", "k0.001_m5"])
def test_given_edges_and_normals(truth, setting, impl):
    require(impl)
    points, edges = truth["noisy.vertices"], truth["point.edges"]
    weights = edge_weights(points, truth["point.normals"], edges)
    labels = segment_graph(len(points), edges, weights, *SETTINGS[setting], impl=impl)
    expected = canonical(truth[f"point.{setting}.labels"])
    np.testing.assert_array_equal(labels, expected)
