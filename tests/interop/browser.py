"""A page in headless Chromium, driven over the Chrome DevTools Protocol."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from dev.processes import ChildProcess, Service
from tests.interop.programs import program

#: Bound for a step of a page, also on a loaded machine.
STEP_SECONDS = 60
POLL_SECONDS = 0.05


class Page:
    """A page: what it requested, what the browser logged about it, and what is on it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.requests: list[str] = []
        self.log: list[str] = []
        self._connection = connection
        self._numbers = itertools.count()

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(STEP_SECONDS):
            while (message := json.loads(await self._connection.recv())).get("id") != number:
                self._note(message)
        assert "error" not in message, (method, message)
        result: dict[str, Any] = message["result"]
        return result

    def _note(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "Network.requestWillBeSent", "params": {"request": {"url": url}}}:
                self.requests.append(url)
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "warning" | "error"} as entry}}:
                self.log.append(f"{entry['source']}: {entry['text']}")
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                self.log.append(f"exception: {details}")
            case {"method": "Runtime.consoleAPICalled", "params": {"type": "error", "args": arguments}}:
                self.log.append(f"console: {arguments}")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer)
        return answer["result"].get("value")

    async def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression has a true value."""
        poll = f"const timer = setInterval(() => {{ if ({expression}) {{ clearInterval(timer); done(true); }} }}, 20);"
        try:
            await self.evaluate(f"new Promise((done) => {{ {poll} }})")
        except TimeoutError:
            text = await self.evaluate("document.body.innerText")
            raise AssertionError(f"{expression} stayed false; log: {self.log}; page: {text[:2000]}") from None

    async def click(self, selector: str) -> None:
        """Click an element, after it appeared."""
        await self.wait(f"document.querySelector({json.dumps(selector)})")
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def enter(self, selector: str, text: str) -> None:
        """Type a text into an input, after it appeared."""
        await self.wait(f"document.querySelector({json.dumps(selector)})")
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.send("Input.insertText", text=text)

    async def screenshot(self) -> bytes:
        """Return a picture of the page as PNG."""
        picture = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(picture["data"])


@contextlib.asynccontextmanager
async def opened_page(directory: Path) -> AsyncIterator[Page]:
    """A page in a browser of its own, whose profile is in the directory. The browser resolves no host names."""
    profile = directory / "profile"
    arguments = [
        program("chromium-headless-shell"),
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1280,1400",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    browser = ChildProcess(Service("browser", arguments, {**os.environ, "HOME": str(directory)}), directory)
    browser.start()
    try:
        async with asyncio.timeout(STEP_SECONDS):
            while not (lines := _lines(profile / "DevToolsActivePort")):
                browser.raise_if_ended()
                await asyncio.sleep(POLL_SECONDS)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{lines[0]}") as http:
            targets = (await http.get("/json")).json()
        (url,) = (target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        async with connect(url, max_size=None) as connection:
            page = Page(connection)
            for domain in ("Page", "Runtime", "Network", "Log"):
                await page.send(f"{domain}.enable")
            yield page
    finally:
        await browser.kill()  # the whole group: Debian's program is a script that starts the browser


def _lines(path: Path) -> list[str]:
    """Return the lines of a file that the browser may not have written yet."""
    return path.read_text().splitlines() if path.exists() else []
