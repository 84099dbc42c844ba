"""The page on scale is what its script writes from the rows of today."""

import importlib.util

import pytest


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location(
        "compute_scale", root / "docs" / "compute_scale.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_rows(script):
    assert script.PAGE.read_text() == script.page()


def test_work_grows_with_frames_scans_and_passes(script):
    one = script.core_seconds_of(script.DataSet("", 10, 100, 5))
    two = script.core_seconds_of(script.DataSet("", 20, 100, 5))
    assert two["teacher lseg"] == one["teacher lseg"]
    assert two["training"] == 2 * one["training"] == 10 * 2 * one["training"] / 10
    (each, _) = script.core_seconds()["training"]
    assert one["training"] == pytest.approx(each * 50)
