"""Every package of the locked set may be used by a package under Apache-2.0."""

import importlib.metadata
import re

import pytest

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


def pinned(root):
    lines = (root / "constraints.txt").read_text().splitlines()
    return [line.split("==")[0] for line in lines if "==" in line and line[0] != "#"]


def test_every_pinned_package_is_permissive(root):
    faults, seen = {}, 0
    for name in pinned(root):
        try:
            package = importlib.metadata.distribution(name)
            licence = stated(package.metadata, package.read_text("LICENSE") or "")
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        seen += 1
        if ALLOWED.get(name, ("",))[0] != licence and not is_permissive(licence):
            faults[name] = licence
    assert not faults
    assert seen > 10 and len(pinned(root)) > 80


def test_the_table_allows_only_what_is_pinned_and_needs_it(root):
    assert set(ALLOWED) <= set(pinned(root))
    assert not any(is_permissive(licence) for licence, _ in ALLOWED.values())


def test_what_the_project_declares_is_pinned(root):
    text = (root / "pyproject.toml").read_text()
    core = text[text.index("dependencies = [") : text.index("]\n\n[project.optional")]
    names = re.findall(r'^    "([A-Za-z0-9_.-]+)', core, re.MULTILINE)
    assert len(names) > 10
    assert {n.lower() for n in names} <= {n.lower() for n in pinned(root)}


@pytest.mark.parametrize(
    ("expression", "permissive"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-or-later", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("(MIT OR GPL-2.0-only) AND BSD-3-Clause", True),
        ("MIT AND GPL-3.0-or-later", False),
        ("MIT AND (GPL-3.0-or-later OR MPL-2.0)", False),
        ("AGPL-3.0-only", False),
        ("LGPL-2.1-or-later", False),
        ("GNU General Public License v3 or later (GPLv3+)", False),
        ("Proprietary", False),
        ("nothing", False),
        ("", False),
    ],
)
def test_expressions(expression, permissive):
    assert is_permissive(expression) == permissive


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({"License": "GNU GENERAL PUBLIC LICENSE\n  Version 3"}, False),
        ({"License": "MIT", "Classifier": ["GNU Affero General Public"]}, False),
        ({"Classifier": ["MIT License", "Apache Software License"]}, True),
        ({"Classifier": ["MIT License", "Other/Proprietary License"]}, False),
        ({"License": "The MIT License (MIT)\n\nCopyright"}, True),
        ({"License": f"Copyright (c)\n{next(iter(TEXTS))}, with or without"}, True),
        ({"License-Expression": "GPL-3.0-only", "Classifier": ["MIT License"]}, False),
        ({}, False),
        ({"License": "MIT, or ask"}, False),
    ],
)
def test_metadata(lines, expected):
    class Metadata(dict):
        def get_all(self, name):
            return ["License :: OSI Approved :: " + c for c in self.get(name, [])] + [
                "License :: DFSG approved"
            ]

    assert is_permissive(stated(Metadata(lines))) == expected
