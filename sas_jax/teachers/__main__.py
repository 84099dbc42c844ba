"""List the 2-D models: what each is and knows, and whether it can run here now.

python -m sas_jax.teachers
"""

import importlib.util
import textwrap

from sas_jax.artefacts.cache import cache_folder
from sas_jax.teachers.registry import ENTRIES, missing_needs
from sas_jax.weights.cards import Card, card, cards
from sas_jax.weights.find import VARIABLE, found_files

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_KINDS = ("dense", "mask", "heat", "captioner", "text", "synthesizer", "prompter")
_HEAD = ("name", "contract", "text space", "GB", "licence", "runs here")
_WIDTH = 88


def rows() -> list[tuple[str, ...]]:
    """Return a row of `_HEAD`'s columns for every model, by contract."""
    named = {name: entry.contract for name, entry in ENTRIES.items()}
    named |= {name: each.kind for name, each in cards().items()}
    order = sorted(named, key=lambda name: (_KINDS.index(named[name]), name))
    return [_row(name, named[name]) for name in order]


def _row(name: str, kind: str) -> tuple[str, ...]:
    described = card(name)
    parts = [part for part in described.files if not part.optional] if described else []
    size = sum(part.size_gb for part in parts)
    known = all(part.size_gb for part in parts)
    licences = dict.fromkeys(part.licence for part in parts if part.licence)
    return (
        name,
        kind,
        (described.text_space if described else "") or "-",
        (f"{size:.2g}" if known else "?") if parts else "-",
        textwrap.shorten(", ".join(licences), 18, placeholder=" ...") or "-",
        _runs(name, described),
    )


def _runs(name: str, described: Card | None) -> str:
    if name in ENTRIES:
        missing = missing_needs(ENTRIES[name])
    else:
        needs = described.needs if described else ()
        missing = [need for need in needs if importlib.util.find_spec(need) is None]
    if missing:
        return f"no {missing[0]}"
    if described is None:
        return "yes, no card"
    return "no weights" if found_files(name) is None else "yes"


def training() -> list[str]:
    """Return what each model has seen, shortened; the whole is in docs/teachers.md."""
    told = (f"{each.name}: {each.trained_on}" for each in cards().values())
    return [
        "  " + textwrap.shorten(line, _WIDTH - 2, placeholder=" ...") for line in told
    ]


def places() -> list[str]:
    """Return, of every model with files, where they lie or how to get them."""
    lines = []
    for described in cards().values():
        found = found_files(described.name)
        lines += [f"  {described.name}: {path}" for path in found or ()]
        for part in described.files if found is None else ():
            if part.optional:
                continue
            size = f"{part.size_gb:g} GB, " if part.size_gb else ""
            lines.append(
                f"  {described.name} needs {part.title} ({size}{part.licence})"
            )
            lines.append(f"    {part.url or f'https://huggingface.co/{part.hub}'}")
    return lines


def main() -> None:
    """Print the table, the files, and where they are looked for."""
    lines = [_HEAD, *rows()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, strict=True)
        print("  ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())
    seen = "Trained on; no zero-shot teacher for a benchmark whose labels it has seen"
    print(f"\n{seen}", *training(), sep="\n")
    print("\nFiles", *places(), sep="\n")
    looked = (
        f"Weights are looked for where --weights=<name>=<path> says, in "
        f"${VARIABLE}/<name>, ${VARIABLE}, {cache_folder() / 'weights'}/<name> and the "
        "cache of the Hugging Face hub, under the names above. --download fetches what "
        "the hub has; others are fetched by hand. "
        "--weights=<name>=random:0 runs a model without any, as a smoke test. "
        "docs/teachers.md says more of each."
    )
    print(f"\n{textwrap.fill(looked, _WIDTH)}")


if __name__ == "__main__":
    main()
