"""The page in a real browser, from a real server, talking to nobody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from cloud_ingest import http
from cloud_ingest.grid import cells_of
from tests.cloud_ingest.feeding import CELL, COLA, MILK, PLACES, T0, Cloud

if TYPE_CHECKING:
    from playwright import sync_api
else:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"]
PHONE = {"width": 390, "height": 800}
DESKTOP = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium: sudo apt install chromium")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield made
        made.close()


class Visit:
    """A page that is open, and everything that was wrong with it."""

    def __init__(self, page: sync_api.Page, address: str) -> None:
        self.page = page
        self.hosts: set[str | None] = set()
        self.wrong: list[str] = []
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        page.on("console", lambda line: self.wrong.append(line.text) if line.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.goto(address)

    def check(self) -> None:
        assert self.wrong == []
        assert self.hosts == {"127.0.0.1"}


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def visit(request: pytest.FixtureRequest, browser: sync_api.Browser, cloud: Cloud) -> Iterator[Visit]:
    for quarter in range(-6, 1):
        cloud.send("shop-a", COLA, T0 + 900 * quarter, sold=3.0 - quarter % 3, in_stock=450.0, observed=900.0)
    cloud.send("shop-a", MILK, T0, sold=0.0, in_stock=0.0, observed=900.0)
    server = http.start(cloud.path, "127.0.0.1", 0)
    context = browser.new_context(viewport=request.param, color_scheme="dark" if request.param is PHONE else "light")
    made = Visit(context.new_page(), server.address)
    yield made
    context.close()
    server.stop()
    made.check()


def test_the_map_shows_and_follows_the_demand(visit: Visit, cloud: Cloud) -> None:
    cell = visit.page.locator(f"[data-cell='{CELL}']")
    sync_api.expect(cell).to_have_attribute("aria-label", f"{CELL}: demand 6, 2 stores")
    sync_api.expect(visit.page.locator(".cell")).to_have_count(2)
    sync_api.expect(cell.locator("title")).to_contain_text("sold 3, SKUs 2, of which demand not known 1")
    sync_api.expect(cell.locator("title")).to_contain_text("1 of 2 stores reporting, complete up to not known")
    assert visit.page.locator(".neighbour").count() > 5
    box = cell.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) > 15
    visit.page.evaluate("window.sameDocument = true")
    cloud.send("shop-b", COLA, T0, sold=4.0, in_stock=900.0, observed=900.0)
    sync_api.expect(cell).to_have_attribute("aria-label", f"{CELL}: demand 9.3, 2 stores")
    assert visit.page.evaluate("window.sameDocument") is True


def test_a_chosen_cell_tells_its_skus(visit: Visit, cloud: Cloud) -> None:
    visit.page.locator(f"[data-cell='{CELL}']").click()
    line = visit.page.locator(f"tr[data-sku='{COLA}']")
    sync_api.expect(line.locator("td")).to_have_text([COLA, "6", "3", "50 %", "0", "0"])
    sync_api.expect(line.locator("rect")).to_have_count(7)
    sync_api.expect(visit.page.locator(f"tr[data-sku='{MILK}'] td").nth(1)).to_have_text("not known")
    sync_api.expect(visit.page.locator(f"tr[data-sku='{MILK}'] rect")).to_have_count(0)
    sync_api.expect(visit.page.locator("#note")).to_contain_text("1 of 2 stores reporting; complete up to not known")
    cloud.send("shop-b", COLA, T0, sold=4.0, in_stock=900.0, observed=900.0)
    sync_api.expect(line.locator("td").nth(2)).to_have_text("7")
    scroll = visit.page.locator("#scroll")
    assert scroll.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_keyboard_reaches_a_cell_and_other_resolutions(visit: Visit) -> None:
    visit.page.locator(f"[data-cell='{CELL}']").focus()
    visit.page.keyboard.press("Enter")
    sync_api.expect(visit.page.locator("#chosen")).to_have_text(f"Cell {CELL}")
    visit.page.locator("#resolution").select_option("9")
    sync_api.expect(visit.page.locator("#chosen")).to_have_text("Choose a cell")
    finest = cells_of(*PLACES["a"])[0]
    visit.page.locator("#window").select_option("1h")
    visit.page.locator(f"[data-cell='{finest}']").press("Enter")
    sync_api.expect(visit.page.locator("tbody tr")).to_have_count(2)
