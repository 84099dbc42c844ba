"""Pages that are made from sources are as their scripts make them."""

import importlib.util

import pytest


@pytest.mark.parametrize("script", ["list_scans", "list_models"])
def test_a_page_is_as_its_script_makes_it(root, script):
    spec = importlib.util.spec_from_file_location("list", root / f"docs/{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), f"Run: python docs/{script}.py"
