"""Write a world of procedural rooms in ScanNet's layout.

    python experiments/make_rooms.py --flagfile=rooms.flags

An interrupted run continues where it stopped when the same command is given again.
"""

import settings
import stage_flags as given

from sas_jax.rooms.catalogue import named_designs
from sas_jax.rooms.layout import RoomConfig
from sas_jax.rooms.scan.surface import SurfaceConfig
from sas_jax.rooms.scan.write import SceneSummary, WorldConfig, WriteConfig, write_world


def table(rows: list[SceneSummary]) -> str:
    """Return one line a scene and a line of totals."""
    form = "{:14} {:12} {:>7} {:>8} {:>8} {:>7}  {}"
    lines = [form.format("scene", "kind", "frames", "points", "objects", "MB", "")]
    lines += [
        form.format(
            row.name,
            row.kind,
            row.num_frames,
            row.num_points,
            row.num_objects,
            f"{row.megabytes:.1f}",
            "written" if row.written else "up to date",
        )
        for row in rows
    ]
    totals = [
        sum(getattr(row, name) for row in rows)
        for name in ("num_frames", "num_points", "num_objects", "megabytes")
    ]
    lines.append(
        form.format(
            f"{len(rows)} scenes", "", *totals[:3], f"{totals[3]:.1f}", ""
        ).rstrip()
    )
    return "\n".join(lines)


def main() -> None:
    width = given.IMAGE_WIDTH.value
    config = WorldConfig(
        num_train=given.NUM_TRAIN.value,
        num_val=given.NUM_VAL.value,
        num_test=given.NUM_TEST.value,
        seed=given.WORLD_SEED.value,
        rooms=RoomConfig(designs=named_designs(given.DESIGNS.value)),
        write=WriteConfig(
            num_frames=given.FRAMES_PER_ROOM.value,
            size_wh=(width, width * 3 // 4),
            surface=SurfaceConfig(spacing_m=given.SPACING_M.value),
        ),
    )
    workers = given.THREADS.value
    print(table(write_world(settings.data_root(), config, workers=workers)))


if __name__ == "__main__":
    settings.run(main)
