"""A real browser for the tests of the page: opened once, watched for whatever goes wrong in it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.serve.dashboard.scene import ORDERS, READS, Scene

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZES: Final = {"laptop": (1366, 768), "phone": (390, 844)}


@contextmanager
def started() -> Iterator[Any]:
    """Start the browser of this machine; skip the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is on the path")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Visit:
    """One page in the browser, and what went wrong in it."""

    def __init__(self, context: Any, scene: Scene) -> None:
        self.page, self.scene = context.new_page(), scene
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        # the browser reports every refusal that the page handles; scripts and policy go on
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.scene.url:
            self.strangers.append(request.url)

    def open(self, token: str | None = READS, query: str = "") -> Any:
        """Open the page and give it a token, None for a service that asks for none."""
        self.page.goto(self.scene.url + "/" + query)
        if token is not None:
            self.page.fill("#access-token", token)
            self.page.click("#access-form button")
        self.page.wait_for_selector(".badge.live", timeout=60_000)
        return self.page

    def unlock(self) -> None:
        """Give the token for orders."""
        self.page.fill("#order-token", ORDERS)
        self.page.click("#controls button")
        self.page.wait_for_selector("#order-pause")

    def confirm(self, button: str) -> str:
        """Press a button, confirm what it asks, and return what came of it."""
        outcome = self.page.locator("#controls .done, #controls [role=alert]")
        before = outcome.all_text_contents()
        self.page.click(button)
        self.page.click("#confirm-yes")
        deadline = time.monotonic() + 60.0
        # the outcome of the order before stays until the next is sent, then its place is empty
        while not any(found := outcome.all_text_contents()) or found == before:
            assert time.monotonic() < deadline, found
            self.page.wait_for_timeout(20)
        return str(found[0])

    def condition(self, code: str) -> str:
        """Wait until the bar on top says something; return it."""
        found = self.page.wait_for_selector(f"[data-code={code}]", timeout=60_000)
        return str(found.text_content())

    def until(self, expression: str, limit_s: float = 120.0) -> None:
        """Wait until an expression is true: the page's policy forbids the driver's own way."""
        deadline = time.monotonic() + limit_s
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, expression
            self.page.wait_for_timeout(50)

    def check(self, name: str) -> None:
        """Keep a picture; refuse violations of accessibility, errors and requests to others.

        A page as wide as a laptop's is looked at as wide as a phone's too.
        """
        before = self.page.viewport_size
        widths = SIZES if (before["width"], before["height"]) == SIZES["laptop"] else ("",)
        for size in widths:
            if size:
                width, height = SIZES[size]
                self.page.set_viewport_size({"width": width, "height": height})
            self._check(f"{name}-{size}" if size else name)
        self.page.set_viewport_size(before)

    def _check(self, name: str) -> None:
        folder = os.environ.get("CI_ARTIFACTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"page-{name}.png", full_page=True)
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(self.page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name}: the page is {wide} pixels wider than the screen"
        assert (self.errors, self.strangers) == ([], []), name


@contextmanager
def visit(browser: Any, scene: Scene, size: str = "laptop", **options: Any) -> Iterator[Visit]:
    """Yield a page of its own, without what others have stored."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        yield Visit(context, scene)
    finally:
        context.close()
