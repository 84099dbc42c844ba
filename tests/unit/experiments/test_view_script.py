"""The script view.py: a browser that sees what was asked for, and what it refuses."""

import os
import re
import signal
import socket
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from chromium import browser, labelled, until
from PIL import Image
from scene_files import write_ply, write_scannet
from text_spaces import in_minilm, point_features

from sas_jax.artefacts.features import save_features
from sas_jax.errors import WeightsMissing
from sas_jax.text import registry
from sas_jax.view.browser.canvas import Canvas
from sas_jax.view.browser.shape import Shape

pytest.importorskip("viser", reason="viser, the extra view, is not installed")

NAME = "scene0000_00"
CHAIR_LOW, CHAIR_HIGH = np.array([0.8, 0.6, 0.0]), np.array([1.4, 1.2, 0.5])


def cloud():
    """Return points of a floor and of a block on it, and which are the block's."""
    x, y = np.meshgrid(np.arange(-2, 2, 0.05), np.arange(-1.5, 1.5, 0.05))
    floor = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)
    steps = np.arange(0, 1, 0.06)
    block = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    block = block[(np.abs(block - 0.5).max(1) > 0.42)]
    block = CHAIR_LOW + block * (CHAIR_HIGH - CHAIR_LOW)
    points = np.concatenate([floor, block]).astype(np.float32)
    return points, np.arange(len(points)) >= len(floor)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A scan whose features are those of the words for its parts."""
    folder = tmp_path_factory.mktemp("view")
    try:
        tower = registry.load("minilm-l6-v2")
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    points, is_chair = cloud()
    scan = write_scannet(folder / "data", NAME)
    colors = np.full((len(points), 3), 200, np.uint8)
    write_ply(scan / f"{NAME}_vh_clean_2.ply", points, colors=colors)
    words = tower.encode(["a floor", "a chair"]).astype(np.float16)
    index = np.arange(len(points), dtype=np.int32)
    ones = np.ones_like(index)
    for name, feat in (
        ("fused/capability", words[is_chair.astype(int)]),
        ("fused/blind", words[0 * index]),
    ):
        features = in_minilm(point_features(feat, index, ones, len(points)))
        target = folder / "run" / name / f"{NAME}.safetensors"
        save_features(target, features, key="k")
    return folder


def start(root, world, *arguments, **variables):
    command = [
        *(sys.executable, "-u", str(root / "experiments" / "view.py")),
        *(f"--scene={NAME}", f"--data_root={world}/data", f"--workspace={world}/run"),
        *("--source=fused", "--teachers=rooms-dense,rooms-mask"),
        *arguments,
    ]
    paths = f"{root}:{root / 'experiments'}:{variables.pop('first', '')}"
    return subprocess.Popen(
        command,
        cwd=world,
        env={**os.environ, "PYTHONPATH": paths, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Jobs in the background of a shell begin with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture(scope="module")
def served(root, world):
    """The page's address; Ctrl-C has to end the server quietly."""
    process = start(root, world, "--port=0")
    try:
        told = ""
        while (line := process.stdout.readline()) and "Ctrl-C" not in line:
            told += line
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", told)
        yield address, told
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.split()) == (0, ["closed"])
        assert "Traceback" not in err
    finally:
        process.kill()
        process.wait()


def shown_at(page):
    """Return where the block is on the canvas, pixels x, y, from the opening view."""
    server = mock.MagicMock()
    canvas = Canvas(server, Shape(cloud()[0]))
    canvas.show(["scan"], [np.zeros((len(cloud()[0]), 3), np.uint8)])
    canvas.overview()
    camera = server.initial_camera
    forward = camera.look_at - camera.position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])
    corners = np.array([CHAIR_LOW, CHAIR_HIGH])
    grid = np.stack(np.meshgrid(*corners.T), -1).reshape(-1, 3)
    local = (grid - camera.position) @ axes.T
    height, width = canvas_of(page).shape[:2]
    focal = height / 2 / np.tan(camera.fov / 2)
    pixels = focal * local[:, :2] / local[:, 2:] + [width / 2, height / 2]
    return pixels.min(0), pixels.max(0)


def canvas_of(page):
    """Return what the canvas shows; the panel stands beside it."""
    edges = (
        "(c => c && (r => [r.left, r.top, r.right, r.bottom].map(Math.round))("
        "c.getBoundingClientRect()))(document.querySelector('canvas'))"
    )
    left, top, right, bottom = until(lambda: page.run(edges), "a canvas")
    return page.picture()[top:bottom, left:right]


def hot(page):
    """Return which pixels of the canvas have the colours of a sure answer."""
    return hot_in(canvas_of(page))


def hot_in(picture):
    """Return which pixels of a picture have the colours of a sure answer."""
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return (red > 100) & (green < 90) & (blue < 40)


def ask(page, text):
    page.click(labelled("input", "Find"), "the panel")
    page.run("document.activeElement.select()")
    page.type(text)


@pytest.fixture(scope="module")
def page(served, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as page:
        page.open(served[0])
        until(lambda: page.place(labelled("input", "Find")), "the panel")
        until(lambda: (canvas_of(page) < 220).sum() > 10_000, "a scan")
        yield page


def test_a_question_heats_what_it_is_about_and_a_click_flies_there(page, served):
    assert "this machine alone" in served[1]
    assert not hot(page).any()
    ask(page, "a chair")
    button = labelled("button", "1: ")
    until(lambda: page.place(button), "an answer in the list")
    low, high = shown_at(page)
    until(lambda: hot(page).sum() > 0.3 * np.prod(high - low), "heat on the canvas")
    rows, columns = np.nonzero(hot(page))
    inside = (columns > low[0] - 3) & (columns < high[0] + 3)
    inside &= (rows > low[1] - 3) & (rows < high[1] + 3)
    assert inside.mean() > 0.98
    far = hot(page).sum()
    page.click(button, "the answer")
    until(lambda: hot(page).sum() > 3 * far, "the camera is nearer")
    assert page.logged == []


def test_sources_stand_side_by_side_and_answer_for_themselves(page):
    page.click(labelled("tab", "Compare"), "the tab")
    page.click(labelled("input", "fused: blind"), "the other source")
    page.click(labelled("tab", "Answers"), "the tab")
    told = "document.body.textContent"
    until(lambda: "blind: no answer" in page.run(told), "what it answers")
    page.click(labelled("tab", "Compare"), "the tab")
    page.click(labelled("input", "fused: blind"), "the other source")
    until(lambda: "blind: no answer" not in page.run(told), "it is gone")


def test_what_is_no_word_is_told_and_the_answer_stays(page):
    ask(page, "!?")
    until(
        lambda: "must hold a word" in page.run("document.body.innerText"),
        "what is wrong",
    )


def test_picture_and_page_are_kept_and_the_page_needs_no_server(page, tmp_path):
    ask(page, "a chair")
    page.click(labelled("tab", "Keep"), "the tab")
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click(labelled("button", "Picture"), "its button")
    (kept,) = until(lambda: list(tmp_path.glob("*.png")), "the picture is kept")
    with Image.open(kept) as picture:
        assert hot_in(np.asarray(picture)).sum() > 200
    page.click(labelled("button", "Page to turn"), "its button")
    (kept,) = until(lambda: list(tmp_path.glob("*.html")), "the page is kept")
    page.asked.clear()
    page.open(f"file://{kept}")
    until(lambda: hot(page).sum() > 200, "the answer in the page")
    assert "a chair" in page.run("document.body.innerText")
    assert {address.partition(":")[0] for address in page.asked} <= {
        *("file", "data", "blob")
    }


def test_a_page_is_written_without_a_browser(root, world):
    done = start(root, world, "--text=a chair", f"--html={world}/a.html")
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert out.splitlines()[-1] == f"written: {world}/a.html"
    assert "a chair" in (world / "a.html").read_text()


def test_a_port_that_is_taken_is_one_line(root, world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start(root, world, f"--port={port}")
        _, err = done.communicate(timeout=120)
    assert done.returncode == 1
    assert err.splitlines()[-1].startswith("error: view: a free port and an address")
    assert f"--port={port + 1}" in err and "Traceback" not in err


def test_without_viser_one_line_says_what_brings_it(root, world, tmp_path):
    (tmp_path / "viser.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'viser'\", name='viser')"
    )
    done = start(root, world, first=str(tmp_path), PYTHONSAFEPATH="1")
    _, err = done.communicate(timeout=120)
    assert done.returncode == 1
    (line,) = err.splitlines()
    assert "the module viser is required" in line and "view" in line
