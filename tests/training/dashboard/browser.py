"""A headless Chromium driven over its DevTools protocol: one page, looked at and clicked as a person would."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 60.0
"""A loaded machine is slow; nothing here asserts a time."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-port=0", "--window-size=1500,1300",
)  # fmt: skip


class Browser:
    """One page of a running Chromium.

    Parameters
    ----------
    socket : ClientConnection
        Of the page's target.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self.hosts: set[str] = set()
        """Hosts that anything was asked of."""
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        """One command and its result; events on the way are noted."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if message.get("id") == self._last:
                assert "error" not in message, message["error"]
                return message["result"]
            if message.get("method") == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme.startswith("http"):
                    self.hosts.add(str(url.hostname))

    def open(self, url: str) -> None:
        """Go to a page."""
        self.send("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait(self, expression: str) -> Any:
        """The value of an expression as soon as it is truthy."""
        until = time.monotonic() + PATIENCE_S
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < until, f"waited in vain for {expression}; the page reads:\n{self.text()}"
            time.sleep(0.1)
        return value

    def wait_for(self, text: str) -> None:
        """Wait until the page shows a text and nothing on it is being computed any more."""
        self.wait(f"document.body && document.body.innerText.includes({json.dumps(text)})")
        self.wait('!document.querySelector(\'[data-testid="stStatusWidget"], [data-testid="stSkeleton"]\')')

    def click(self, selector: str, text: str = "") -> None:
        """Click the first element of a CSS selector that contains a text, with the mouse."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        find = f"{found}.find(e => e.innerText.includes({json.dumps(text)}))"
        self.wait(f"!!{find}")
        x, y = self.evaluate(
            f"(() => {{ const e = {find}; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
            " return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field and press Enter."""
        self.click(selector)
        self.send("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
            )

    def upload(self, selector: str, file: Path) -> None:
        """Give a file to an `input` of type file."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, path: Path, height: int = 0) -> None:
        """The window as a PNG file; `height` makes the window that high first."""
        if height:
            self.send(
                "Emulation.setDeviceMetricsOverride", width=1500, height=height, deviceScaleFactor=1, mobile=False
            )
            time.sleep(1.5)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


def find() -> str | None:
    """The path of a browser; where there is none and it may be installed, it is."""
    found = _installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            try:
                subprocess.run(
                    ["apt-get", *command], env=quiet, stdin=subprocess.DEVNULL, capture_output=True, timeout=240
                )
            except subprocess.TimeoutExpired:
                return None
        found = _installed()
    return found


@contextmanager
def browsing(binary: str, profile: Path) -> Iterator[Browser]:
    """A browser of its own with an empty profile, on one blank page."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [binary, *FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # No pings: a browser that is busy on a loaded machine answers late, and is not dead.
        with connect(_page(process, profile), max_size=None, proxy=None, ping_interval=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _page(process: subprocess.Popen[bytes], profile: Path) -> str:
    """The address of the page's socket, once the browser says on which port it listens."""
    told, until = profile / "DevToolsActivePort", time.monotonic() + PATIENCE_S
    while not (told.exists() and told.read_text()):
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        assert time.monotonic() < until, "the browser does not say where it listens"
        time.sleep(0.05)
    port = told.read_text().splitlines()[0]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        with direct.open(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE_S) as answer:
            pages = [one for one in json.load(answer) if one["type"] == "page"]
        if pages:
            return str(pages[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < until, "the browser has no page"
        time.sleep(0.05)
