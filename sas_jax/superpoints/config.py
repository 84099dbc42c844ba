"""How a scene is cut into superpoints."""

import dataclasses

from sas_jax.checks import in_range


@dataclasses.dataclass(frozen=True)
class SuperpointConfig:
    """Choose how a scene is cut.

    Attributes:
      k_threshold: preference for large segments.
      min_vertices: least size; the paper's ScanNet value, for meshes with a vertex
        every 1 to 2 cm.
      neighbors: edges per point where there is no mesh.
    """

    k_threshold: float = 0.01
    min_vertices: int = 60
    neighbors: int = 8

    def __post_init__(self) -> None:
        in_range("superpoints", "k_threshold", self.k_threshold, 0)
        in_range("superpoints", "min_vertices", self.min_vertices, 0)
        in_range("superpoints", "neighbors", self.neighbors, 1)
