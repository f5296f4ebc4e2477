"""The page in a real browser, from a real server, talking to nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from cloud_ingest import http
from cloud_ingest.grid import cells_of
from cloud_ingest.release import release
from cloud_ingest.rows import Scope
from cloud_ingest.store.protocol import Item
from tests.cloud_ingest.browsing import DESKTOP, NO_WEBGL, PHONE, WEBGL, Visit, chromium, driver, sync_api
from tests.cloud_ingest.feeding import CELL, COLA, FAR, MILK, PLACES, T0, Cloud
from tests.cloud_ingest.town import DAY, MIDNIGHT, REGION, Town, quarters

expect = sync_api.expect
Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def playwright() -> Iterator[sync_api.Playwright]:
    with driver() as made:
        yield made


@pytest.fixture(scope="module")
def browser(playwright: sync_api.Playwright) -> Iterator[sync_api.Browser]:
    with chromium(playwright, *WEBGL) as made:
        yield made


@contextmanager
def opened(browser: sync_api.Browser, path: Path, size: sync_api.ViewportSize | dict[str, int] = DESKTOP,
           scheme: str = "light", scope: Scope = "operator") -> Iterator[Open]:
    """A server of `path`, and a way to open its page at `#link`."""
    server = http.start(path, "127.0.0.1", 0, scope)
    context = browser.new_context(viewport=size, color_scheme=scheme, accept_downloads=True)  # type: ignore[arg-type]  # a dict of two and a literal
    visits: list[Visit] = []

    def go(link: str = "") -> Visit:
        visits.append(Visit(context.new_page(), f"{server.address}/#{link}"))
        visits[-1].settle()
        return visits[-1]

    yield go
    context.close()
    server.stop()
    for visit in visits:
        visit.check()


@pytest.fixture
def sold(cloud: Cloud) -> Cloud:
    """Seven quarters of cola at store a, milk that was never on the shelf; the catalogue names both."""
    for quarter in range(-6, 1):
        cloud.send("shop-a", COLA, T0 + 900 * quarter, sold=3.0 - quarter % 3, in_stock=450.0, observed=900.0)
    cloud.send("shop-a", MILK, T0, sold=0.0, in_stock=0.0, observed=900.0)
    cloud.store.put_items([Item(COLA, "Cola 0.5 l", "drinks"), Item(MILK, "Whole milk 1 l", "dairy")])
    return cloud


@pytest.fixture(params=["desktop", "phone"])
def visit(request: pytest.FixtureRequest, browser: sync_api.Browser, sold: Cloud) -> Iterator[Visit]:
    size, scheme = (PHONE, "dark") if request.param == "phone" else (DESKTOP, "light")
    with opened(browser, sold.path, size, scheme) as go:
        yield go()


@pytest.fixture
def go(browser: sync_api.Browser, sold: Cloud) -> Iterator[Open]:
    with opened(browser, sold.path) as go:
        yield go


def cell(visit: Visit, name: str = CELL) -> sync_api.Locator:
    return visit.page.locator(f"[data-cell='{name}']")


def colour_at_the_middle(visit: Visit) -> list[int]:
    """Red, green and blue."""
    shot = cv2.imdecode(np.frombuffer(visit.page.locator("#map").screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert shot is not None
    return [int(part) for part in shot[shot.shape[0] // 2, shot.shape[1] // 2, ::-1]]


def test_the_map_shows_and_follows_the_demand(visit: Visit, sold: Cloud) -> None:
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 6, 2 stores")
    expect(visit.page.locator(".cell")).to_have_count(2)
    expect(cell(visit)).to_have_attribute("title", "\n".join([
        "sold 3, SKUs 2, of which demand not known 1", "in stock 25 % of the observed time",
        "1 of 2 stores reporting, 1 silent", "complete up to not known"]))
    expect(cell(visit, FAR)).to_have_attribute("aria-label", f"{FAR}: demand not known, 1 store")
    visit.page.evaluate("window.sameDocument = true")
    sold.send("shop-b", COLA, T0, sold=4.0, in_stock=900.0, observed=900.0)
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 10, 2 stores")
    assert visit.page.evaluate("window.sameDocument") is True
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_chosen_cell_tells_its_skus(visit: Visit, sold: Cloud) -> None:
    cell(visit).click()
    line = visit.page.locator(f"tr[data-sku='{COLA}']")
    expect(line.locator("td")).to_have_text(["Cola 0.5 l", "6", "3", "50 %", "0", "0"])
    expect(line.locator(".bars rect")).to_have_count(7)
    expect(visit.page.locator(f"tr[data-sku='{MILK}'] td").nth(1)).to_have_text("not known")
    expect(visit.page.locator(f"tr[data-sku='{MILK}'] .bars rect")).to_have_count(0)
    expect(visit.page.locator("#note")).to_contain_text("1 of 2 stores reporting, 1 silent; complete up to not known")
    sold.send("shop-b", COLA, T0, sold=4.0, in_stock=900.0, observed=900.0)
    expect(line.locator("td").nth(2)).to_have_text("7")
    scroll = visit.page.locator("#scroll")
    assert scroll.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_history_shades_what_was_sold_out_and_hatches_what_was_not_observed(go: Open) -> None:
    visit = go(f"cell={CELL}")
    chart = visit.page.locator("#chart svg")
    expect(chart).to_have_attribute("aria-label", "Demand of Cola 0.5 l in 48 windows up to 2 Mar, 08:00 UTC: "
                                                  "at most 6, sold out for a time in 7, not known in 41")
    expect(chart.locator(".stockout")).to_have_count(7)
    expect(chart.locator(".blank")).to_have_count(41)
    visit.page.locator(f"tr[data-sku='{MILK}'] button").click()
    expect(chart.locator(".demand")).to_have_count(0)  # never on the shelf: not known, which is not 0
    expect(chart.locator(".stockout")).to_have_count(1)
    visit.page.locator("summary").click()
    expect(visit.page.locator("#numbers tbody td")).to_have_text(
        ["2 Mar, 08:00 UTC", "not known", "not known", "0", "0 %"])


def test_a_hexagon_has_its_colour_and_answers_the_pointer(browser: sync_api.Browser, tmp_path: Path) -> None:
    alone = Cloud(tmp_path / "alone.db", "a")
    alone.send("shop-a", COLA, T0, sold=9.0, in_stock=900.0, observed=900.0)
    with opened(browser, alone.path) as go:
        visit = go()
        highest = visit.page.locator("#legend rect").nth(4).get_attribute("fill")
        assert highest is not None
        wanted = [int(highest[i:i + 2], 16) for i in (1, 3, 5)]
        for _ in range(100):
            if colour_at_the_middle(visit) == wanted:
                break
            visit.page.wait_for_timeout(100)
        assert colour_at_the_middle(visit) == wanted
        visit.page.locator("#map canvas").hover()
        expect(visit.page.locator("#tip")).to_contain_text(f"{CELL}: demand 9, 1 store")
        visit.page.locator("#map canvas").click()
        expect(visit.page.locator("#chosen")).to_have_text(f"Cell {CELL}")


def test_the_keyboard_reaches_cells_resolutions_and_the_map(visit: Visit) -> None:
    cell(visit).focus()
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#chosen")).to_have_text(f"Cell {CELL}")
    expect(cell(visit)).to_be_focused()
    visit.page.locator("#resolution").select_option("9")
    expect(visit.page.locator("#chosen")).to_have_text("Choose a cell")
    finest = cells_of(*PLACES["a"])[0]
    visit.page.locator("#window").select_option("1h")
    cell(visit, finest).press("Enter")
    expect(visit.page.locator("#skus tbody tr")).to_have_count(2)
    visit.page.locator("#zoom").press("Enter")
    visit.page.locator("#close").press("Enter")
    expect(visit.page.locator("#seen")).to_have_text("1 cell in view")
    visit.page.locator("#map canvas").press("Enter")
    expect(visit.page.locator("#chosen")).to_have_text(f"Cell {finest}")


def test_time_goes_back_and_plays_to_the_newest_window(go: Open) -> None:
    visit = go()
    slider, clock = visit.page.locator("#slider"), visit.page.locator("#clock")
    slider.focus()
    visit.page.keyboard.press("Home")
    expect(clock).to_have_text("2 Mar, 06:30 UTC")
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 6, 2 stores")
    expect(slider).to_have_attribute("aria-valuetext", "2 Mar, 06:30 UTC")
    visit.page.locator("#forth").click()
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 4, 2 stores")
    visit.page.locator("#play").click()
    expect(visit.page.locator("#play")).to_have_text("Pause")
    expect(clock).to_have_text("2 Mar, 08:00 UTC")
    expect(visit.page.locator("#play")).to_have_text("Play")
    expect(visit.page.locator("#when")).to_contain_text("the newest")


def test_a_sku_is_found_by_its_name_and_the_map_shows_it_alone(go: Open) -> None:
    visit = go()
    visit.page.locator("#search").fill("milk")
    expect(visit.page.locator("#options [role=option]")).to_have_count(1)
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand not known, 2 stores")
    expect(visit.page.locator("#search")).to_have_value("Whole milk 1 l")
    visit.page.locator("#search").fill("<b>nothing</b>")
    expect(visit.page.locator("#options")).to_have_text("No SKU of that name or number")
    visit.page.locator("#all").click()
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 6, 2 stores")


def test_a_link_restores_the_view(go: Open) -> None:
    first = go()
    first.page.locator("#by").select_option("stock")
    first.page.locator("#resolution").select_option("7")
    first.page.locator("#search").fill(COLA)
    first.page.keyboard.press("Enter")
    first.page.locator("#back").click()
    parent = cells_of(*PLACES["a"])[2]
    cell(first, parent).click()
    expect(first.page.locator("#of")).to_have_text("Cola 0.5 l")
    second = go(first.page.url.partition("#")[2])
    for page in (first.page, second.page):
        expect(page.locator("#clock")).to_have_text("2 Mar, 07:45 UTC")
        expect(page.locator("#chosen")).to_have_text(f"Cell {parent}")
        expect(page.locator("#search")).to_have_value("Cola 0.5 l")
        expect(page.locator(f"[data-cell='{parent}']")).to_have_attribute(
            "aria-label", f"{parent}: in-stock share 50 %, 2 stores")


def test_a_link_with_nonsense_is_the_plain_page(go: Open) -> None:
    visit = go("by=<script>&r=99&t=soon&cell=x&at=1_2&weeks=1_2&w=7y")
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 6, 2 stores")


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_names_of_any_length_and_kind_are_text_in_their_place(browser: sync_api.Browser, sold: Cloud,
                                                              size: sync_api.ViewportSize) -> None:
    long, script = "x" * 500, "<script>alert(1)</script><img src=x onerror=alert(2)>"
    sold.store.put_items([Item(COLA, long, script), Item(MILK, script, "=cmd"), Item("3", "\u202eLTR", long)])
    with opened(browser, sold.path, size) as go:
        visit = go(f"cell={CELL}&sku={COLA}")
        expect(visit.page.locator("#of")).to_have_text(long)
        visit.page.locator("#search").fill("x")
        expect(visit.page.locator("#options [role=option]")).to_have_count(3)
        assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        tall = visit.page.locator("#skus tbody tr").evaluate_all("rows => Math.max(...rows.map(r => r.clientHeight))")
        assert tall < 150
        name = visit.page.locator(f"tr[data-sku='{COLA}'] button").bounding_box()
        assert name is not None
        assert name["x"] + name["width"] <= size["width"]


def test_two_weeks_are_compared_per_observed_hour(sold: Cloud, go: Open) -> None:
    # Twice as much in the week before, from one hour observed instead of two quarters.
    for day in range(1, 8):
        sold.send("shop-a", COLA, T0 - 86_400 * day, sold=6.0, in_stock=900.0, observed=900.0)
        sold.send("shop-a", COLA, T0 - 86_400 * (day + 7), sold=12.0, in_stock=900.0, observed=900.0)
        sold.send("shop-b", COLA, T0 - 86_400 * (day + 7), sold=12.0, in_stock=900.0, observed=900.0)
    visit = go("by=change&w=1d")
    visit.page.locator("#against").select_option("weeks")
    week = T0 // 86_400 * 86_400 - 7 * 86_400
    visit.page.locator("#earlier").select_option(str(week - 7 * 86_400))
    visit.page.locator("#later").select_option(str(week))
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: change of demand -50 %, 2 stores")
    expect(cell(visit, FAR)).to_have_attribute("aria-label", f"{FAR}: change of demand not known, 1 store")
    visit.page.locator("#later").select_option(str(week - 7 * 86_400))
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: change of demand 0 %, 2 stores")


def test_completeness_tells_how_many_shops_are_silent(go: Open) -> None:
    visit = go("by=complete")
    line = visit.page.locator("tr", has=cell(visit))
    expect(line.locator("td")).to_have_text([CELL, "50 %", "1 of 2", "1"])
    expect(cell(visit, FAR)).to_have_attribute("aria-label", f"{FAR}: completeness 0 %, 1 store")


def test_what_is_seen_is_exported(go: Open) -> None:
    visit = go()
    expect(cell(visit)).to_be_visible()

    def saved(button: str) -> Path:
        with visit.page.expect_download() as waiting:
            visit.page.locator(button).click()
        return Path(waiting.value.path())

    head, *lines = saved("#csv").read_text().splitlines()
    assert head.startswith("cell,sku,start,window_s,sold,demand,")
    assert f"{CELL},,{T0},900,3,6,,,3,0.25,2,1,,2,1" in lines
    assert f"{FAR},,{T0},900,,,,,,,1,0,,," in lines
    shapes = json.loads(saved("#geojson").read_text())
    found = {each["properties"]["cell"]: each for each in shapes["features"]}
    assert found[CELL]["properties"]["demand"] == 6
    assert found[FAR]["properties"]["demand"] is None
    ring = found[CELL]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    picture = cv2.imdecode(np.frombuffer(saved("#png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    visit.page.locator("#link").click()
    expect(visit.page.locator("#exported")).to_have_text("Link copied")


@pytest.mark.parametrize("shops", ["", "ab"])
def test_a_database_without_facts_says_so(browser: sync_api.Browser, tmp_path: Path, shops: str) -> None:
    empty = Cloud(tmp_path / "empty.db", shops)
    with opened(browser, empty.path) as go:
        visit = go(f"by=change&cell={CELL}")
        expect(visit.page.locator("#when")).to_have_text("No facts yet")
        expect(visit.page.locator("#play")).to_be_disabled()
        expect(visit.page.locator(".cell")).to_have_count(1 if shops else 0)


def test_without_webgl_the_table_has_the_same_numbers(playwright: sync_api.Playwright, sold: Cloud) -> None:
    with chromium(playwright, *NO_WEBGL) as plain, opened(plain, sold.path) as go:
        visit = go()
        expect(visit.page.locator("#nomap")).to_contain_text("WebGL 2 is missing or turned off")
        expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 6, 2 stores")
        cell(visit).click()
        expect(visit.page.locator(f"tr[data-sku='{COLA}'] td").nth(1)).to_have_text("6")
        expect(visit.page.locator("#png")).to_be_disabled()


def test_a_server_that_goes_away_is_told_and_found_again(browser: sync_api.Browser, sold: Cloud) -> None:
    server = http.start(sold.path, "127.0.0.1", 0, "operator")
    port = int(server.address.rpartition(":")[2])
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # as above
    visit = Visit(context.new_page(), server.address)
    visit.settle()
    visit.page.locator("#back").click()
    expect(visit.page.locator("#when")).to_have_text("Window from 2 Mar, 07:45 UTC")
    visit.page.locator("#forth").click()
    expect(visit.page.locator("#when")).to_contain_text("the newest")
    server.stop()
    expect(visit.page.locator("#when")).to_have_text("Connection lost; trying again")
    visit.page.locator("#back").click()
    expect(visit.page.locator("#when")).to_have_text("Connection lost; trying again. Window from 2 Mar, 07:45 UTC")
    visit.page.locator("#now").click()
    sold.send("shop-b", COLA, T0, sold=4.0, in_stock=900.0, observed=900.0)
    again = http.start(sold.path, "127.0.0.1", port, "operator")
    expect(cell(visit)).to_have_attribute("aria-label", f"{CELL}: demand 10, 2 stores")
    context.close()
    again.stop()


def test_a_public_page_shows_what_is_published_and_no_more(browser: sync_api.Browser, tmp_path: Path) -> None:
    town = Town(tmp_path / "town.db", quarters(2, [6, 6]))
    town.send((f"s{shop}", COLA, start, {"sold": 1.0, "in_stock": 900.0, "observed": 900.0})
              for shop in range(12) for start in range(MIDNIGHT, MIDNIGHT + DAY, 3600))
    with opened(browser, town.path, scope="public") as go:
        visit = go("r=5")
        expect(visit.page.locator("#when")).to_have_text("Nothing is published yet")
        expect(visit.page.locator("#scope")).to_have_text("published: whole days, of at least five shops each")
        expect(visit.page.locator(".cell")).to_have_count(0)
        release(town.path, MIDNIGHT + 2 * DAY)
        expect(cell(visit, REGION)).to_have_attribute("aria-label", f"{REGION}: demand 288, 12 stores")
        expect(visit.page.locator("#window")).to_have_value("1d")
