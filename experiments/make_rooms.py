"""Write a data set of procedural rooms in ScanNet's layout.

    python experiments/make_rooms.py --flagfile=rooms.flags

An interrupted run continues where it stopped when the same command is given again.
"""

import pathlib

import settings
import stage_flags

from sas_jax.datasets import registry
from sas_jax.errors import InputError
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
    workers, root = stage_flags.THREADS.value, settings.data_root()
    _check_foreign(root)
    print(table(write_rooms(root, config, workers=workers)))


def _check_foreign(root: pathlib.Path) -> None:
    """Refuse a folder that holds scans of somebody else.

    Rooms would lie between them, and their splits would replace the others'.
    """
    scans = sorted(path.name for path in (root / "scans").glob("[!.]*"))
    foreign = [name for name in scans if not name.startswith("room")]
    others = [name for name in registry.DATASETS if name != "scannet"]
    if any(registry.load(name).is_root(root) for name in others):
        foreign.append("scans of another data set")
    if foreign:
        raise InputError(
            f"make_rooms: a folder of rooms, or a new one, is required, got one with "
            f"{foreign[0]} ({root}). Give another --data_root, or run the pipeline on "
            "what is there with --nomake_rooms."
        )


if __name__ == "__main__":
    settings.run(main)
