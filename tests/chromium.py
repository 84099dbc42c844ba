"""A real browser without a screen, driven through its DevTools protocol.

Chromium of the distribution; graphics in software, so pictures are the same everywhere.
It is cut off from every network but this machine's own.
"""

import base64
import contextlib
import io
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

SIZE_WH = (1200, 800)
_FLAGS = (
    *("--headless", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--remote-debugging-port=0", "--hide-scrollbars"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    f"--window-size={SIZE_WH[0]},{SIZE_WH[1]}",
)


def until(condition, what, seconds=60.0):
    """Return the first true value of a condition; fails where there is none in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)  # between looks, not for luck
    return found


class Page:
    """One tab.

    Attributes:
      asked: addresses that it has asked for.
      logged: errors that it has told, one a line.
    """

    def __init__(self, socket):
        self._socket, self._number = socket, itertools.count(1)
        self.asked, self.logged, self._loaded = [], [], True
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Call the protocol; return its result."""
        number = next(self._number)
        call = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(call))
        while True:
            told = json.loads(self._socket.recv(timeout=60))
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                return told["result"]
            self._hear(told)

    def _hear(self, told):
        given = told.get("params", {})
        match told.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.asked.append(given["request"]["url"])
            case "Log.entryAdded" if given["entry"]["level"] == "error":
                self.logged.append(given["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.logged.append(json.dumps(given["exceptionDetails"]))

    def open(self, address):
        """Go to an address; returns when its page is loaded."""
        self._loaded = False
        done = self.call("Page.navigate", url=address)
        assert "errorText" not in done, done
        while not self._loaded:
            self._hear(json.loads(self._socket.recv(timeout=60)))

    def run(self, script):
        """Return the value of an expression of JavaScript."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return got["result"].get("value")

    def picture(self):
        """Return what is shown, u8 [H, W, 3]."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        return np.asarray(image.convert("RGB"))

    def place(self, script):
        """Return the centre of what an expression finds, in pixels, or None."""
        return self.run(
            f"(() => {{const e = {script}; if (!e) return null;"
            "e.scrollIntoView({block: 'nearest'});"
            "const r = e.getBoundingClientRect();"
            "return r.width ? [r.x + r.width / 2, r.y + r.height / 2] : null;})()"
        )

    def click(self, script, what):
        """Click the element that an expression finds, as soon as it is there."""
        x, y = until(lambda: self.place(script), what)
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", x=x, y=y, **event)

    def type(self, text):
        """Type into what has the focus, and press Enter."""
        self.call("Input.insertText", text=text)
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        for kind, more in (("keyDown", {"text": "\r"}), ("keyUp", {})):
            self.call("Input.dispatchKeyEvent", type=kind, **key, **more)


def labelled(kind, label):
    """Return an expression that finds an input, a button, a tab or an option."""
    text = json.dumps(label)
    if kind != "input":
        which = "button" if kind == "button" else f"[role={kind}]"
        return (
            f"[...document.querySelectorAll('{which}')]"
            f".find(e => e.textContent.includes({text}))"
        )
    return (
        "(label => {for (let e = label; e; e = e.parentElement) {"
        "const found = e.querySelector('input:not([type=hidden])');"
        "if (found) return found;}})("
        "[...document.querySelectorAll('label')]"
        f".find(e => e.htmlFor && e.textContent.trim() === {text}))"
    )


@contextlib.contextmanager
def browser(folder):
    """Start Chromium with an empty profile in a folder; yields its page."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    pytest.importorskip("websockets")
    from websockets.sync.client import connect

    profile = pathlib.Path(folder) / "profile"
    flags = [*_FLAGS, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    log = open(pathlib.Path(folder) / "chromium.log", "wb")  # noqa: SIM115
    process = subprocess.Popen([program, *flags, "about:blank"], stdout=log, stderr=log)
    try:
        port = profile / "DevToolsActivePort"
        lines = until(
            lambda: (
                port.is_file()
                and len(port.read_text().split()) > 1
                and port.read_text().split()
            ),
            "Chromium is up",
        )
        with connect(
            f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None, proxy=None
        ) as whole:
            # A tab of its own: the first one may still be on its way to its page.
            order = {"id": 1, "method": "Target.createTarget"}
            whole.send(json.dumps(order | {"params": {"url": "about:blank"}}))
            tab = json.loads(whole.recv(timeout=60))["result"]["targetId"]
        with connect(
            f"ws://127.0.0.1:{lines[0]}/devtools/page/{tab}", max_size=None, proxy=None
        ) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()
