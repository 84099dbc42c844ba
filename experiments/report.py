"""Compose the report: the ablation table and the pictures that explain it.

  python experiments/report.py --flagfile=rooms.flags

Reads what the other stages left in the workspace; what is missing is left out. Writes
<workspace>/report/index.html, one file with everything in it, and results.json with
the same numbers; beside them, where viser is installed, a few scenes to turn.
"""

import json
import math
import platform
from collections.abc import Mapping

import capability_tables
import numpy as np
import report_answers
import report_limits
import settings
import stage_flags
import trained_runs
from tqdm import tqdm

from sas_jax.artefacts.files import atomic_write
from sas_jax.capability.store import CapabilityTable, read_table
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, questions, summary
from sas_jax.evaluation.summary import Row
from sas_jax.stages import command
from sas_jax.view import report
from sas_jax.view.report import Section, Table

_LABELS = {
    "fused/add": "fused: adding",
    "fused/linear": "fused: linear",
    "fused/capability": "fused: capability (SAS)",
    "student/rooms_student.safetensors": "student: rooms, as it comes",
    "student/point": "student: + point distillation",
    "student/superpoint": "student: + superpoint distillation",
    "student/full": "student: + temporal ensembling (full)",
}


def main() -> None:
    """Write the report of what is on disk."""
    rows = _rows()
    known = _capabilities()
    tables = {name: t for name, t in known.items() if f"teacher/{name}" in rows}
    results = _results(rows, tables)
    workspace = settings.workspace()
    asked, names = _questions(), settings.label_set().classes.names
    limits = report_limits.section(rows, results, asked, names)
    sections = [limits, _table3(rows, results), *_asked(asked)]
    sections.append(_per_class(rows, tables, results))
    makers = report_answers.SECTIONS
    for maker in tqdm(makers, desc="report", unit="section"):
        section = maker()
        if section is not None:
            sections.append(section)
    sections.append(_costs(results))
    scored = len(settings.labelled_scans())
    report.write_report(
        workspace.report,
        title="SAS on " + settings.data_root().name,
        lead=f"{scored} scene{'s' * (scored != 1)} of the split "
        f"{stage_flags.EVAL_SPLIT.value}, that nothing was trained on. Scores in "
        "percent; a point that no camera saw counts as missed.",
        sections=sections,
    )
    results |= {"claims": {each.words: each.holds for each in results["claims"]}}
    text = json.dumps(_plain({**results, "questions": asked}), indent=1)
    atomic_write(workspace.results, text.encode())
    print(_as_text(rows))
    for claim, holds in results["claims"].items():
        print(f"{'yes' if holds else 'NO ' if holds is False else '?  '}  {claim}")


def _rows() -> dict[str, Row]:
    """Read the evaluations and average the seeds of each student."""
    found: dict[str, list[protocol.Evaluation]] = {}
    folder = settings.workspace().scores_of(settings.score_folder())
    evaluations = [protocol.load(path) for path in sorted(folder.glob("*.json"))]
    summary.check_same_scenes(evaluations)
    methods = trained_runs.methods([evaluation.name for evaluation in evaluations])
    for evaluation in evaluations:
        found.setdefault(methods[evaluation.name], []).append(evaluation)
    teachers = sorted(name for name in found if name.startswith("teacher/"))
    both = (name + way for name in _LABELS for way in ("", protocol.SUPERPOINTS))
    known = [name for name in both if name in found]
    others = sorted(set(found) - set(teachers) - set(known))
    if not found:
        raise InputError(
            f"report: evaluations are required, got none ({folder}). "
            f"Run: {command('evaluate')}"
        )
    return {
        name: summary.summarize(name, _label(name), found[name])
        for name in [*teachers, *known, *others]
    }


def _label(name: str) -> str:
    """Return words for a method."""
    plain = name.removesuffix(protocol.SUPERPOINTS)
    words = _LABELS.get(plain, plain)
    if plain not in _LABELS and (told := trained_runs.setting(plain.partition("/")[2])):
        words = f"{plain.partition('/')[0]}: {told}"
    return words if plain == name else f"{words}, by superpoints"


def _capabilities() -> dict[str, CapabilityTable]:
    names = settings.workspace().teachers()
    if capability_tables.elsewhere():
        names = [name for name in names if name in stage_flags.TEACHERS.value]
    paths = {name: capability_tables.path_of(name) for name in names}
    return {name: read_table(p) for name, p in paths.items() if p.exists()}


def _results(rows: Mapping[str, Row], tables: Mapping[str, CapabilityTable]) -> dict:
    names = settings.label_set().classes.names
    capability = {name: _on_classes(table, names) for name, table in tables.items()}
    iou = {name: np.array(rows[f"teacher/{name}"].iou) for name in tables}
    workspace = settings.workspace()
    timings = workspace.timings
    return {
        "rows": {name: vars(row) for name, row in rows.items()},
        "classes": list(names),
        "claims": summary.claims(rows, list(tables)),
        "capability": {name: list(values) for name, values in capability.items()},
        "capability_rank_correlation": {
            name: summary.rank_correlation(capability[name], iou[name])
            for name in tables
        },
        "capability_difference_correlation": summary.difference_correlation(
            np.array(list(capability.values())), np.array(list(iou.values()))
        )
        if len(tables) > 1
        else math.nan,
        "seconds": json.loads(timings.read_text()) if timings.exists() else {},
        "megabytes": {
            path.name: round(_size(path) / 1e6, 2)
            for path in sorted(workspace.root.iterdir())
            if path.is_dir()
        },
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def _on_classes(table: CapabilityTable, names: tuple[str, ...]) -> np.ndarray:
    known = dict(zip(table.classes, table.miou, strict=True))
    measured = dict(zip(table.classes, table.measured, strict=True))
    has = [name in known and measured[name] for name in names]
    pairs = zip(names, has, strict=True)
    return np.array([100 * known[n] if h else np.nan for n, h in pairs])


def _size(folder) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _spread(row: Row) -> str:
    return f"{row.miou:.1f}" + (
        f" ± {row.spread:.1f}" if row.spread is not None else ""
    )


def _table3(rows: Mapping[str, Row], results: dict) -> Section:
    best = max(range(len(rows)), key=lambda i: list(rows.values())[i].miou)
    groups = list(next(iter(rows.values())).groups)
    heads = [f"mIoU, {group}" for group in groups]
    table = Table(
        ["method", "mIoU", "mAcc", "accuracy", "mIoU, seen points", *heads, "seeds"],
        [
            [
                row.label,
                _spread(row),
                f"{row.macc:.1f}",
                f"{row.overall:.1f}",
                f"{row.miou_seen:.1f}",
                *(f"{row.groups[group]:.1f}" for group in groups),
                str(len(row.seeds)),
            ]
            for row in rows.values()
        ],
        best=[best],
    )
    words = {True: "holds", False: "does not hold", None: "not measured"}
    checked = Table(
        ["claim of the paper, on the means above", "mIoU", ""],
        [
            [c.words, "-" if c.holds is None else f"{c.gain:+.1f}", words[c.holds]]
            for c in results["claims"]
        ],
    )
    return Section("Zero-shot semantic segmentation", tables=[table, checked])


def _per_class(
    rows: Mapping[str, Row], tables: Mapping[str, CapabilityTable], results: dict
) -> Section:
    names = settings.label_set().classes.names
    header, columns = ["class"], []
    for name, table in tables.items():
        header += [f"{name}: capability", f"{name}: true IoU"]
        columns += [_on_classes(table, names), rows[f"teacher/{name}"].iou]
    for name, row in rows.items():
        if not name.startswith("teacher/") and _is_plain(name):
            header.append(row.label.split(": ")[-1])
            columns.append(row.iou)
    best = max((r for n, r in rows.items() if _is_plain(n)), key=lambda r: r.miou)
    lost = 100 - np.array(best.iou)
    header.append("lost")
    columns.append(lost)
    order = np.argsort(-np.nan_to_num(lost, nan=-np.inf), kind="stable")
    cells = [
        [names[k], *("-" if np.isnan(c[k]) else f"{c[k]:.0f}" for c in columns)]
        for k in order
    ]
    correlations = [
        f"{name} {correlation:.2f}"
        for name, correlation in results["capability_rank_correlation"].items()
    ]
    better = results["capability_difference_correlation"]
    text = [
        "Capability is measured on synthesized images without any annotation. Its rank "
        "correlation with the true IoU over classes: " + ", ".join(correlations) + ". "
        "What fusion depends on is which teacher is better on a class: the rank "
        f"correlation of the differences between teachers is {better:.2f}.",
        f"Sorted by what is lost: 100 % less the IoU of {best.label}, the best of "
        "these. Methods averaged over superpoints stand in the first table alone.",
    ]
    return Section("Classes", text=text, tables=[Table(header, cells)])


def _is_plain(name: str) -> bool:
    return not name.endswith(protocol.SUPERPOINTS)


def _questions() -> dict[str, dict[str, dict[str, float]]]:
    """Read what `evaluate.py --questions` wrote: method -> kind -> scores."""
    place = settings.workspace().question_scores(settings.score_folder(), "").parent
    return dict(questions.load(path) for path in sorted(place.glob("*.json")))


def _asked(asked: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Section]:
    if not asked:
        return []
    header = ["answers by", "questions", *next(iter(asked.values()))[questions.ALL]]
    cells = [
        [
            name if kind == questions.ALL else "",
            kind,
            *(f"{v:.0f}" if np.isfinite(v) else "-" for v in score.values()),
        ]
        for name, kinds in asked.items()
        for kind, score in kinds.items()
    ]
    text = [
        "There: questions whose answer is in the scene; heat AP: average precision of "
        "the heat map; right: the best region is mostly what was asked for; missed: no "
        "answer; IoU: of the whole answer. Absent: questions whose answer is not "
        "there; false: those that are answered all the same. Shares in percent.",
    ]
    best = [row for row, cell in enumerate(cells) if cell[0]]
    return [Section("Answers to questions", text, [Table(header, cells, best=best)])]


def _costs(results: dict) -> Section:
    seconds = [[name, f"{value:,.0f}"] for name, value in results["seconds"].items()]
    seconds.append(["all", f"{sum(results['seconds'].values()):,.0f}"])
    sizes = [[name, f"{value:,.1f}"] for name, value in results["megabytes"].items()]
    return Section(
        "Time and disk",
        tables=[
            Table(["stage", "seconds"], seconds, caption=results["machine"]),
            Table(["folder", "MB"], sizes),
        ],
    )


def _as_text(rows: Mapping[str, Row]) -> str:
    wide = 2 + max(len(row.label) for row in rows.values())
    lines = [f"\n{'method':<{wide}}{'mIoU':>12}{'mAcc':>8}{'acc':>8}{'mIoU seen':>12}"]
    lines += [
        f"{row.label:<{wide}}{_spread(row):>12}{row.macc:8.1f}{row.overall:8.1f}"
        f"{row.miou_seen:12.1f}"
        for row in rows.values()
    ]
    return "\n".join(lines)


def _plain(value):
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value


if __name__ == "__main__":
    settings.run(main)
