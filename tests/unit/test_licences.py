"""Every package of the locked set may be used by a package under Apache-2.0."""

import importlib.util
import pathlib
import re

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "docs" / "list_licences.py"
spec = importlib.util.spec_from_file_location("list_licences", SCRIPT)
licences = importlib.util.module_from_spec(spec)
spec.loader.exec_module(licences)
SENTENCE = next(iter(licences.TEXTS))


def test_every_pinned_package_is_permissive():
    allowed = {name: licence for name, (licence, _) in licences.ALLOWED.items()}
    faults = {
        name: licence
        for name, licence in (licences.listed() | licences.found()).items()
        if allowed.get(name) != licence and not licences.is_permissive(licence)
    }
    assert not faults
    assert len(licences.found()) > 10 and len(licences.pinned()) > 80


def test_the_page_lists_every_pinned_package():
    told = "Run: python docs/list_licences.py"
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), told
    assert set(licences.listed()) == set(licences.pinned())


def test_the_table_allows_only_what_is_pinned_and_needs_it():
    assert set(licences.ALLOWED) <= set(licences.pinned())
    assert not any(
        licences.is_permissive(licence) for licence, _ in licences.ALLOWED.values()
    )


def test_what_the_project_declares_is_pinned(root):
    text = (root / "pyproject.toml").read_text()
    core = text[text.index("dependencies = [") : text.index("]\n\n[project.optional")]
    names = re.findall(r'^    "([A-Za-z0-9_.-]+)', core, re.MULTILINE)
    assert len(names) > 10
    assert {n.lower() for n in names} <= {n.lower() for n in licences.pinned()}


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
    assert licences.is_permissive(expression) == permissive


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({"License": "GNU GENERAL PUBLIC LICENSE\n  Version 3"}, False),
        ({"License": "MIT", "Classifier": ["GNU Affero General Public"]}, False),
        ({"Classifier": ["MIT License", "Apache Software License"]}, True),
        ({"Classifier": ["MIT License", "Other/Proprietary License"]}, False),
        ({"License": "The MIT License (MIT)\n\nCopyright"}, True),
        ({"License": f"Copyright (c)\n{SENTENCE}, with or without"}, True),
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

    assert licences.is_permissive(licences.stated(Metadata(lines))) == expected
