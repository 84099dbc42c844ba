"""TUM's lists: association in time, quaternions, cameras by name, bad lines."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from sas_jax.datasets.registry import scan_at
from sas_jax.datasets.tum import Tum
from sas_jax.errors import InputError

LISTS = {
    "rgb": "# color images\n# timestamp filename\n10.00 rgb/a.png\n10.50 rgb/b.png\n"
    "11.00 rgb/c.png\n12.0 rgb/d.png\n",
    "depth": "10.015 depth/a.png\n10.52 depth/b.png\n11.03 depth/c.png\n"
    "12.0 depth/d.png\n",
}


def line(time, turn):
    """Return a pose that has moved to the right by a metre a second."""
    numbers = [*turn.apply([time - 10, 0, 0]), *2 * turn.as_quat()]
    return " ".join(map(str, [time, *numbers]))


def write(folder, **lists):
    folder.mkdir(parents=True)
    for kind in ("rgb", "depth"):
        (folder / kind).mkdir()
    for name in "abcd":
        Image.new("RGB", (640, 480), (200, 10, 10)).save(folder / f"rgb/{name}.png")
        depth = np.full((480, 640), 10_000, np.uint16)
        Image.fromarray(depth).save(folder / f"depth/{name}.png")
    turn = Rotation.from_euler("xyz", [-100, 5, 20], degrees=True)
    rows = [line(time, turn) for time in (10, 10.5)]
    truth = "\n".join([*rows, "11 0 0 0 0 0 0 0", "12.0 1 2 3 0 0 0 0"])
    for name, text in {**LISTS, "groundtruth": truth, **lists}.items():
        (folder / f"{name}.txt").write_text(text)
    return folder, turn


def test_images_are_joined_with_depth_and_poses_near_in_time(tmp_path):
    folder, turn = write(tmp_path / "rgbd_dataset_freiburg2_desk")
    scan = scan_at(folder)
    assert scan.dataset.name == "tum"
    scene = scan.open()
    # c has no depth within 20 ms, d a quaternion of length zero
    assert scene.frame_source.names == ("a", "b", "d")
    one, two = scene.frames()
    assert scene.skipped == {"invalid pose": 1}
    np.testing.assert_allclose(one.world_from_camera[:3, 3], 0, atol=1e-9)
    np.testing.assert_allclose(one.world_from_camera[:3, :3], turn.as_matrix())
    np.testing.assert_allclose(
        two.world_from_camera[:3, 3], turn.apply([0.5, 0, 0]), atol=1e-9
    )
    assert (one.depth_m == 2).all() and one.intrinsics[0, 0] == 520.9


def test_the_lists_decide_the_key(tmp_path):
    folder, _ = write(tmp_path / "s")
    key = scan_at(folder).key("geometry")
    (folder / "groundtruth.txt").write_text("10 0 0 0 0 0 0 1\n")
    assert scan_at(folder).key("geometry") != key


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"rgb": "10.0\n"}, "a time and what was there"),
        ({"rgb": "x rgb/a.png\n"}, "a time and what was there"),
        ({"depth": "99 depth/a.png\n"}, "got none of 4"),
        ({"groundtruth": "10 1 2 3 0 0 0\n"}, "tx ty tz qx qy qz qw"),
        ({"groundtruth": "10 1 2 3 0 0 0 one\n"}, "tx ty tz qx qy qz qw"),
        ({"groundtruth": ""}, "got none of 4"),
    ],
)
def test_bad_lists_say_what_they_lack(tmp_path, lists, message):
    folder, _ = write(tmp_path / "s", **lists)
    with pytest.raises(InputError, match=message):
        Tum().open(folder)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["rgb", "depth", "groundtruth"]), st.text()))
def test_any_text_is_read_or_refused(tmp_path_factory, lists):
    folder = tmp_path_factory.mktemp("fuzz") / "s"
    folder.mkdir()
    for name in ("rgb", "depth", "groundtruth"):
        (folder / f"{name}.txt").write_text(lists.get(name, "1 2 3"), encoding="utf-8")
    with contextlib.suppress(InputError):
        Tum().capture(folder)


def test_a_camera_that_is_assumed_is_said_once(tmp_path, caplog):
    folder, _ = write(tmp_path / "mine")
    scan_at(folder).open()
    (said,) = [r.getMessage() for r in caplog.records if "no camera" in r.getMessage()]
    assert "intrinsic.txt" in said and "525" in said
    caplog.clear()
    (folder / "intrinsic.txt").write_text("500 500 320 240")
    scan_at(folder).open()
    assert "no camera" not in caplog.text


def test_frames_that_are_skipped_alike_are_named_ten_times(tmp_path, caplog):
    lines = "\n".join(f"{i} rgb/none{i}.png" for i in range(30))
    poses = "\n".join(f"{i} {i / 99} 0 0 0 0 0 1" for i in range(30))
    depth = "\n".join(f"{i} depth/a.png" for i in range(30))
    folder, _ = write(tmp_path / "s", rgb=lines, depth=depth, groundtruth=poses)
    with pytest.raises(InputError):
        scan_at(folder).open()
    named = [r for r in caplog.records if "skipped:" in r.getMessage()]
    assert len(named) == 10 and "not named" in caplog.text
