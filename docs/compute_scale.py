"""Write `docs/scale.md`: bytes, hours and money per stage, from measured rates alone.

  python docs/compute_scale.py

Rates are rows of `benchmarks/results`. What no row measures is `not measured`, never a
guess. Sizes of data sets and prices are the inputs below; change them and run again.
"""

import dataclasses
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "scale.md"
NOT = "not measured"

# Assumptions of 2026-11, not quotations: put in what you pay.
USD_PER_CORE_HOUR = 0.04
CORES = 64
USD_PER_TB_MONTH = 23.0
CLASSES = 20
CHANNELS = 512


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Scans, frames that teachers see (all together), passes of training, and points.

    Passes are those of the paper's recipes: 100 epochs of five, on nuScenes of one.

    Every scan is computed as large as the measured one: 150,000 points of a scene of
    97,323 voxels; sizes differ between data sets, which no row tells.
    """

    name: str
    scans: int
    frames: int
    passes: int
    points: int = 150_000


DATA_SETS = (
    DataSet("ScanNet, every 20th of 2.5 M frames", 1_513, 125_000, 500),
    DataSet("Matterport3D, all views", 90, 194_400, 500),
    DataSet("nuScenes, 6 cameras of 40,000 sweeps", 40_000, 240_000, 100),
    DataSet("a million scans as in ScanNet", 1_000_000, 82_600_000, 500),
)


def row(name, **wanted):
    """Return the last row of a file that has these values."""
    lines = (RESULTS / f"{name}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [r for r in rows if all(r.get(k) == v for k, v in wanted.items())][-1]


def core_seconds():
    """Return stage -> (core seconds of a unit, the unit), as measured."""
    lifted = row("lifting", threads=1)
    cloud = row("superpoints", what="mesh", points=150_000)
    step = row("network", what="train", impl="default", threads=1, keep_memory=False)
    full = {"size": "true", "precision": "f32", "batch": 1}
    teachers = {
        f"teacher {name}": (
            row("teachers", teacher=name, **full)["cpu_ms"] / 1e3,
            "frames",
        )
        for name in ("lseg", "seem")
    }
    return {
        **teachers,
        "lifting, one teacher": (lifted["lift_s"] / lifted["frames"], "frames"),
        "superpoints": (cloud["cpu_s"], "scans"),
        "fusion": (lifted["fuse_s"] + lifted["means_s"], "scans"),
        "training": (step["cpu_ms"] / 1e3, "steps"),
    }


def gpu_training_s():
    """Return seconds of one scene in a fed step of twelve on the measured card."""
    step = row("gpu_train", batch=12, precision="tf32", plan="in the step")
    return step["seconds_fed"] / 12, step["card"]


def bytes_of(data):
    """Return artefact -> bytes; at most, as if every point were seen."""
    lifted = row("lifting", threads=1)
    return {
        "features of one teacher": data.scans * data.points * (2 * CHANNELS + 8),
        "fused, of superpoints": int(data.scans * lifted["file_mb"] * 1e6),
        "superpoints": 4 * data.scans * data.points,
        "history of training": 4 * data.scans * data.points * CLASSES,
    }


def table(head, rows):
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def hours(seconds):
    """Return hours with two digits that count."""
    return f"{float(f'{seconds / 3600:.2g}'):,g}"


def core_seconds_of(data):
    """Return stage -> core seconds of a whole data set."""
    units = {
        "frames": data.frames,
        "scans": data.scans,
        "steps": data.scans * data.passes,
    }
    return {name: s * units[unit] for name, (s, unit) in core_seconds().items()}


def dollars(usd):
    """Return whole dollars with two digits that count."""
    return f"{float(f'{usd:.2g}'):,.0f}" if usd >= 1 else "< 1"


def section(data):
    """Return the page's part about one data set."""
    per_scene, card = gpu_training_s()
    rows = []
    for stage, core in core_seconds_of(data).items():
        usd = dollars(core / 3600 * USD_PER_CORE_HOUR)
        on_gpu = NOT
        if stage == "training":
            on_gpu = hours(data.passes * per_scene * data.scans)
        rows.append([stage, hours(core), hours(core / CORES), usd, on_gpu, NOT, NOT])
    head = [
        *("stage", "core hours", f"hours on {CORES} cores", "USD, cores"),
        *(f"hours on one {card}", "8 H100", "TPU v5e-16"),
    ]
    sizes = [
        [name, f"{size / 1e9:,.1f}", f"{size / 1e12 * USD_PER_TB_MONTH:,.2f}"]
        for name, size in bytes_of(data).items()
    ]
    return (
        f"## {data.name}\n\n{data.scans:,} scans, {data.frames:,} frames, "
        f"{data.passes} passes of training.\n\n"
        f"{table(head, rows)}\n\n"
        f"{table(['artefact', 'GB', 'USD a month'], sizes)}\n"
    )


def breaks():
    """Return what ends first as scans grow, from the same rates."""
    lifted = row("lifting", threads=1)
    each = sum(bytes_of(DataSet("", 1, 0, 1)).values())
    history = 4 * 150_000 * CLASSES
    first = []
    for data in DATA_SETS:
        took = core_seconds_of(data)
        most = max(took, key=took.get)
        first.append(f"{data.name}: {most} ({hours(took[most] / CORES)} hours)")
    return f"""## What breaks first

1. **Hours on {CORES} cores**, the longest stage of each. {"; ".join(first)}.
   On accelerators the large teachers are {NOT}.
2. **History.** The running mean of logits is {history / 1e6:.0f} MB a scan and part of
   every checkpoint: 1 TB at {1e12 / history:,.0f} scans.
3. **Features of teachers.** With one teacher, {each / 1e6:,.0f} MB a scan in all: a
   disk of 10 TB is full at {1e13 / each:,.0f} scans. `--level=superpoint` keeps fused
   ones at {lifted["file_mb"]} MB a scan; teachers' may be deleted after fusion.
"""


def page():
    """Return the page."""
    return "\n".join(
        [
            "# Scale, from measured rates\n",
            "Made by `docs/compute_scale.py` from rows of `benchmarks/results`; what "
            f"no row measures is *{NOT}*. Hours on cores assume that work divides "
            f"evenly over {CORES} cores as fast as the measured one. Inputs, assumed "
            f"in 2026-11 and no quotations: {USD_PER_CORE_HOUR} USD a core hour, "
            f"{USD_PER_TB_MONTH:g} USD a TB and month, {CLASSES} "
            f"classes, {CHANNELS} channels. Every scan counts as the measured one "
            "(150,000 points, 97,323 voxels), nuScenes' sweeps too, which have fewer. "
            "Teachers ran on images of 240 x 320 with random weights, one call on a "
            "machine with other load: processor time is what counts here. Capability "
            "is measured once, whatever the number of scans. Of features, every point "
            "counts as seen.\n",
            *(section(data) for data in DATA_SETS),
            breaks(),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
