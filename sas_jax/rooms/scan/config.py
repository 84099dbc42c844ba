"""What is written of rooms: how many, and how they are scanned.

Seeds: the rooms of a data set have seeds below `FIRST_PRETRAINING_SEED`; networks are
pre-trained on rooms with seeds from there on and measured on rooms with seeds from
`FIRST_HELD_OUT_SEED` on, so no network ever saw a test room.
"""

from dataclasses import dataclass, field

from sas_jax.checks import in_range
from sas_jax.errors import InputError
from sas_jax.rooms.layout.config import RoomConfig

FIRST_PRETRAINING_SEED = 1_000_000
FIRST_HELD_OUT_SEED = 1_900_000
SPLITS = ("train", "val", "test")
MAX_ROOMS = 1000


@dataclass(frozen=True)
class SurfaceConfig:
    """How the scan mesh is made.

    Attributes:
      spacing_m: mean distance of neighbouring vertices.
      noise_m: standard deviation of a vertex along its normal.
      max_depth_m: surfaces farther than this from every camera are missing.
      min_faces: smaller loose pieces are dropped.
    """

    spacing_m: float = 0.04
    noise_m: float = 0.003
    max_depth_m: float = 6.0
    min_faces: int = 12

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0.01 <= self.spacing_m <= 0.5:
            raise InputError(
                "SurfaceConfig: spacing_m must be in [0.01, 0.5], got "
                f"{self.spacing_m}. 0.04 is the density of a ScanNet mesh."
            )


@dataclass(frozen=True)
class SensorConfig:
    """Strength of the sensor's effects.

    Attributes:
      exposure_stops: standard deviation of the exposure error.
      white_balance: standard deviation of the red and blue gain.
      gamma: standard deviation of the contrast exponent.
      blur_px: range of the blur's sigma for a 320 pixels wide image.
      vignette: largest loss of light in the corners.
      shot: noise of a white pixel, share of full scale.
      read: noise of a black pixel, share of full scale.
      depth_noise: depth sigma in metres at 1 m; grows with the square.
      max_depth_m: no reading beyond.
      min_cosine: holes become likely below this |cos| of the viewing angle.
      edge_loss: share of depth-edge pixels without a reading.
    """

    exposure_stops: float = 0.25
    white_balance: float = 0.05
    gamma: float = 0.06
    blur_px: tuple[float, float] = (0.3, 0.7)
    vignette: float = 0.25
    shot: float = 0.022
    read: float = 0.008
    depth_noise: float = 0.0014
    max_depth_m: float = 6.0
    min_cosine: float = 0.17
    edge_loss: float = 0.6


@dataclass(frozen=True)
class WriteConfig:
    """What is written of a room.

    Attributes:
      num_frames: frames of the scene.
      size_wh: width and height of colour and depth images.
      jpeg_quality: 1 to 95.
      walk_factor: the scan mesh is fused from this many times more frames, so a few of
        its points are in no written frame.
      surface: density and noise of the mesh.
      sensor: camera noise.
    """

    num_frames: int = 40
    size_wh: tuple[int, int] = (320, 240)
    jpeg_quality: int = 92
    walk_factor: int = 4
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    sensor: SensorConfig = field(default_factory=SensorConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value, low, high in (
            ("num_frames", self.num_frames, 1, 10_000),
            ("width", self.size_wh[0], 16, 4096),
            ("height", self.size_wh[1], 16, 4096),
            ("jpeg_quality", self.jpeg_quality, 1, 95),
            ("walk_factor", self.walk_factor, 1, 100),
        ):
            if not low <= value <= high:
                raise InputError(
                    f"WriteConfig: {name} must be in [{low}, {high}], got {value}. "
                    "Choose a value in the range."
                )


@dataclass(frozen=True)
class RoomsConfig:
    """How many rooms, and what they are like.

    Attributes:
      num_train: rooms to train on.
      num_val: rooms to choose settings by.
      num_test: rooms to report numbers on.
      seed: which set of rooms, in [0, 1000).
      rooms: settings of the room generator.
      write: settings of the writer.
    """

    num_train: int = 16
    num_val: int = 6
    num_test: int = 6
    seed: int = 0
    rooms: RoomConfig = field(default_factory=RoomConfig)
    write: WriteConfig = field(default_factory=WriteConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("num_train", "num_val", "num_test"):
            in_range("rooms", name, getattr(self, name), 0)
        counts = (self.num_train, self.num_val, self.num_test)
        if not 1 <= sum(counts) <= MAX_ROOMS:
            raise InputError(
                f"RoomsConfig: the splits must have 1 to {MAX_ROOMS} rooms together, "
                f"got {counts}. Change the numbers of rooms."
            )
        limit = FIRST_PRETRAINING_SEED // MAX_ROOMS
        if not 0 <= self.seed < limit:
            raise InputError(
                f"RoomsConfig: seed must be in [0, {limit}), got {self.seed}. Larger "
                "seeds would repeat rooms that networks were trained on."
            )

    def scenes(self) -> dict[str, list[tuple[str, int]]]:
        """Return (scene name, room seed) of every room by split."""
        counts = (self.num_train, self.num_val, self.num_test)
        first, table = 0, {}
        for split, count in zip(SPLITS, counts, strict=True):
            table[split] = [
                (f"room{i:04d}_00", self.seed * MAX_ROOMS + i)
                for i in range(first, first + count)
            ]
            first += count
        return table
