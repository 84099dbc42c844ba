"""Pictures show what they must; the page is one file."""

import numpy as np

from sas_jax.view import pictures, report


def test_nearer_point_hides_the_farther_one():
    points = np.array([[0, 0, 2.0], [0, 0, 1.0], [0, 0, 3.0]])
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    intrinsics = np.array([[50.0, 0, 20], [0, 50, 10], [0, 0, 1]])
    image = pictures.render_points(points, colors, np.eye(4), intrinsics, (41, 21))
    assert image.shape == (21, 41, 3)
    np.testing.assert_array_equal(image[10, 20], [0, 255, 0])
    np.testing.assert_array_equal(image[0, 0], pictures.BACKGROUND)


def test_outside_view_contains_the_cloud():
    rng = np.random.default_rng(0)
    points = rng.uniform([0, 0, 0], [5, 4, 2.5], (500, 3))
    for azimuth in (0, 45, 200):
        pose, intrinsics = pictures.outside_view(points, azimuth_deg=azimuth)
        local = (points - pose[:3, 3]) @ pose[:3, :3]
        pixel = local @ intrinsics.T
        pixel = pixel[:, :2] / pixel[:, 2:]
        inside = (pixel >= 0).all(1) & (pixel < [640, 480]).all(1)
        assert inside.mean() > 0.97
        assert np.linalg.det(pose[:3, :3]) > 0.999


def test_contact_sheet_keeps_every_picture():
    images = [np.full((10, 12, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = pictures.contact_sheet(images, 2, gap=2)
    assert sheet.shape == (22, 26, 3)
    assert [sheet[5, 5, 0], sheet[5, 20, 0], sheet[17, 5, 0]] == [10, 20, 30]


def test_report_is_self_contained_and_escapes(tmp_path):
    path = tmp_path / "index.html"
    image = np.zeros((4, 4, 3), np.uint8)
    curve = report.lines({"a": ([0, 1], [1, 0])}, xlabel="step", ylabel="loss")
    section = report.Section(
        "A & <b>",
        text=["words"],
        tables=[report.Table(["x"], [["1"]], best=[0])],
        figures=[report.picture(image, "p"), report.drawing(curve, "d")],
        keys=[("wall", report.css(np.array([255, 0, 16], np.uint8)))],
    )
    report.write_report(path, title="T", lead="L", sections=[section])
    page = path.read_text()
    assert "A &amp; &lt;b&gt;" in page
    assert "#ff0010" in page
    assert page.count("data:image/") == 2
    assert 'src="http' not in page
