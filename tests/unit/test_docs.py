"""Pages that follow from the sources are up to date."""

import importlib.util


def test_the_page_of_layouts_is_that_of_the_registry(root):
    spec = importlib.util.spec_from_file_location("list", root / "docs/list_scans.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "Run: python docs/list_scans.py"
