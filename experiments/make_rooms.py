"""Write a data set of procedural rooms in ScanNet's layout.

    python experiments/make_rooms.py --flagfile=rooms.flags

An interrupted run continues where it stopped when the same command is given again.
"""

import settings
import stage_flags

from sas_jax.rooms.scan.scene import SceneSummary
from sas_jax.rooms.scan.write import write_rooms


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
    """Write the rooms and print what they hold."""
    config = stage_flags.ROOM_SET.make(
        rooms=stage_flags.ROOM.make(), write=stage_flags.rooms_written()
    )
    workers = stage_flags.THREADS.value
    print(table(write_rooms(settings.data_root(), config, workers=workers)))


if __name__ == "__main__":
    settings.run(main)
