"""Intrinsics in every form that people write them in, and what is none."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_room import matrix

from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics, read_pinhole

K = matrix(577.5, 578, 319.5, 239.25)
ROWS = "577.5 0 319.5\n0 578 239.25\n0 0 1\n"
FOUR = "577.5 0 319.5 0\n0 578 239.25 0\n0 0 1 0\n0 0 0 1"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (ROWS, None),
        (FOUR, None),
        (ROWS.replace(" ", ", "), None),
        (FOUR.replace("\n", " "), None),
        (f"[[{ROWS.strip().replace(' ', ',')}]]".replace("\n", "],\n ["), None),
        ("577.5 578 319.5 239.25", None),
        ("577.5\n578\n319.5\n239.25\n", None),
        ("577.5,578,319.5,239.25,640,480\n", (640, 480)),
        (ROWS + "640 480", (640, 480)),
        ("# 640x480\n" + ROWS, (640, 480)),
        (f"{ROWS}# for images of 1296 x 968 pixels", (1296, 968)),
        (f"% width: 640, height: 480\n{FOUR}", (640, 480)),
        (f"# fx 577.5 fy 578\n{FOUR} // W = 640 H = 480", (640, 480)),
        ("577.5 578 319.5 239.25 # fx fy cx cy of 2 cameras", None),
        (
            json.dumps(
                {
                    "width": 640,
                    "height": 480,
                    "intrinsic_matrix": K.T.ravel().tolist(),
                }
            ),
            (640, 480),
        ),
        (json.dumps({"intrinsic_matrix": K.tolist()}), None),
        (
            json.dumps(
                {
                    "camera": {
                        "w": 1200,
                        "h": 680,
                        **{"fx": 577.5, "fy": 578, "cx": 319.5, "cy": 239.25},
                        "scale": 6553.5,
                    }
                }
            ),
            (1200, 680),
        ),
    ],
)
def test_forms(tmp_path, text, size):
    path = tmp_path / "k.txt"
    path.write_text(text, encoding="utf-8")
    found, size_wh = read_pinhole(path)
    np.testing.assert_allclose(found, K)
    assert size_wh == size
    np.testing.assert_array_equal(read_intrinsics(path), found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got 0 numbers"),
        ("577 0 319\n0 578", "got 5 numbers"),
        ("fx 577", "could not convert"),
        ("577 578 319 239 640.5 480", "width and a height"),
        ("577 578 319 239 nan 480", "width and a height"),
        ("577 -578 319 239", "positive focal"),
        ("577 578 nan 239", "positive focal"),
        (ROWS.replace("0 0 1", "0 0 2"), "last row 0 0 1"),
        ("{", "Expecting"),
        ("{}", "fx, fy, cx and cy"),
        ('{"intrinsic_matrix": [1, 2]}', "9 numbers"),
        ('{"camera": {"fx": 1, "fy": null, "cx": 1, "cy": 1}}', "fx, fy, cx and cy"),
        ('{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "w": "a", "h": 2}', "a width"),
    ],
)
def test_others_are_refused(tmp_path, text, message):
    path = tmp_path / "k.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pinhole(path)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(), st.text('0123456789.-+einfa{}[]":,#x \n').map(str.encode))
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz_k.txt"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        found, _ = read_pinhole(path)
        assert found.shape == (3, 3)
