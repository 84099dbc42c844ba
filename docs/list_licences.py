"""Write docs/licences.md: what every package of the locked set may be used under.

  python docs/list_licences.py

Reads the metadata of installed packages; a row of a package that is not installed here
stays as it was. A test judges the licences and compares the page.
"""

import importlib.metadata
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = pathlib.Path(__file__).with_name("licences.md")
HEAD = """\
# Licences of the locked set

What the packages of `constraints.txt` state, as SPDX expressions; of "OR" one branch is
taken. All are permissive, but for what notes say. Written by
`docs/list_licences.py`, judged by `tests/unit/test_licences.py`.

| package | version | licence | note |
| --- | --- | --- | --- |
"""

PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "HPND",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
# Package -> the licence that it states, and why it is no burden.
ALLOWED = {
    "certifi": ("MPL-2.0", "a list of certificates, used unchanged by an HTTP client"),
    "hypothesis": ("MPL-2.0", "used unchanged, and by the tests alone"),
    "pathspec": ("MPL-2.0", "used unchanged, and by the type checker alone"),
    "tqdm": ("MPL-2.0 AND MIT", "used unchanged; the terms end at its own files"),
}
# Package -> what its own licence does not say of what its wheels carry.
NOTES = {
    "av": "wheels carry FFmpeg (LGPL) with x264 and x265 (GPL), used by encoders "
    "alone; installed with the extra `phones` only",
}
# What packages that name no licence by its SPDX identifier say instead.
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
FIRST_LINES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache Software License 2.0": "Apache-2.0",
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
}
# Sentences that only the full text of a licence has.
TEXTS = {
    "Redistribution and use in source and binary forms": "BSD-3-Clause",
    "Permission is hereby granted, free of charge": "MIT",
}


def stated(metadata, shipped=""):
    """Return the licence of a package as an SPDX expression, or what stands there.

    `shipped` is the text of the file LICENSE, for who states nothing.
    """
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        line.split(" :: ")[-1]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    classifiers = [c for c in classifiers if not c.endswith(("Approved", "approved"))]
    if classifiers:
        return " AND ".join(CLASSIFIERS.get(line, line) for line in classifiers)
    text = (metadata.get("License") or "").strip()
    text = shipped.strip() if text in ("", "UNKNOWN") else text
    for sentence, name in TEXTS.items():
        if sentence in text:
            return name
    first_line = text.split("\n")[0]
    return FIRST_LINES.get(first_line, first_line) or "nothing"


def is_permissive(expression):
    """Judge an SPDX expression: one branch of each OR, and all of each AND."""
    while inner := re.search(r"\(([^()]*)\)", expression):
        result = "MIT" if is_permissive(inner[1]) else "refused"
        expression = expression[: inner.start()] + result + expression[inner.end() :]
    return any(
        all(
            name.split(" WITH ")[0].strip() in PERMISSIVE
            for name in option.split(" AND ")
        )
        for option in expression.split(" OR ")
    )


def pinned() -> dict[str, str]:
    """Return name -> version of `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("#")[0].strip() for line in lines]
    return dict(pin.split("==") for pin in pins if "==" in pin)


def found() -> dict[str, str]:
    """Return name -> licence of the pinned packages that are installed."""
    licences = {}
    for name in pinned():
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        licences[name] = stated(package.metadata, _shipped(package))
    return licences


def _shipped(package: importlib.metadata.Distribution) -> str:
    """Return the text of a package's own licence; "" where it brings none."""
    paths = ("LICENSE", "licenses/LICENSE", "licenses/LICENSE.md")
    return next((text for path in paths if (text := package.read_text(path))), "")


def listed() -> dict[str, str]:
    """Return name -> licence of the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {row[0]: row[2] for row in rows[2:]}


def page() -> str:
    """Return the page: what is installed, else what the page says already."""
    licences = listed() | found()
    rows = [
        f"| {name} | {version} | {licences.get(name, 'not installed here')} "
        f"| {NOTES.get(name) or ALLOWED.get(name, ('', ''))[1]} |"
        for name, version in sorted(pinned().items(), key=lambda pin: pin[0].lower())
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
