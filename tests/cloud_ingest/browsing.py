"""Chromium as a visitor of the page, who notes everything that is wrong with it and every host it talks to."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
__all__ = ["DESKTOP", "NO_WEBGL", "PHONE", "WEBGL", "Visit", "chromium", "driver", "sync_api"]
QUIET = ["--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NO_WEBGL = ["--disable-3d-apis"]
PHONE = {"width": 390, "height": 800}
DESKTOP = {"width": 1280, "height": 800}
PATIENCE_MS = 30_000


@contextlib.contextmanager
def driver() -> Iterator[sync_api.Playwright]:
    """What starts browsers; one in a thread at a time."""
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as playwright:
        yield playwright


@contextlib.contextmanager
def chromium(playwright: sync_api.Playwright, *args: str) -> Iterator[sync_api.Browser]:
    """A browser; the test is skipped where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium: sudo apt install chromium")
    made = playwright.chromium.launch(executable_path=path, args=[*QUIET, *args])
    yield made
    made.close()


class Visit:
    """A page that is open, and everything that was wrong with it."""

    def __init__(self, page: sync_api.Page, address: str) -> None:
        self.page = page
        self.hosts: set[str | None] = set()
        self.wrong: list[str] = []
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.goto(address)

    def _told(self, line: sync_api.ConsoleMessage) -> None:
        if line.type in {"error", "warning"} and "GL Driver Message" not in line.text:  # of a software renderer
            self.wrong.append(line.text)

    def settle(self) -> None:
        """Return once the first frame is drawn."""
        sync_api.expect(self.page.locator("body[data-revision]")).to_have_count(1)

    def check(self) -> None:
        """Nothing was wrong, and no other host was asked."""
        assert self.wrong == []
        assert self.hosts <= {"127.0.0.1", None}  # None: a blob of the page's own
        assert "127.0.0.1" in self.hosts
