"""The page with 50,000 cells, and how long a movement on a device takes to the changed hexagon."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_ingest import frames, http
from cloud_ingest.grid import ring
from edge import wire
from edge.clock import SystemClock
from edge.uplink.buffer import Buffer
from edge.uplink.publisher import Link, Publisher, Voice
from edge.uplink.session import Address
from tests.bench.test_uplink import REGISTRY, running
from tests.cloud_ingest.browsing import DESKTOP, WEBGL, Visit, chromium, driver, sync_api
from tests.cloud_ingest.country import around, country
from tests.cloud_ingest.feeding import T0
from tests.conftest import Broker, free_port, wait_for_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
CLOCK = SystemClock()
CELLS, FRAMES, MOVEMENTS = 50_000, 40, 12
SKU = "4006381333931"
PAINTED = """async () => {
  const began = performance.now();
  const frame = await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return frame - began;
}"""
PAN = """async (frames) => {
  const canvas = document.querySelector("#map canvas");
  canvas.focus();
  const began = performance.now();
  for (let i = 0; i < frames; i += 1) {
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", keyCode: i % 2 ? 37 : 39, bubbles: true }));
    await new Promise(requestAnimationFrame);
  }
  return frames * 1000 / (performance.now() - began);
}"""


@pytest.fixture
def browser() -> Iterator[sync_api.Browser]:
    with driver() as playwright, chromium(playwright, *WEBGL) as made:
        yield made


def shown_after(visit: Visit, act: str, text: str) -> float:
    """Seconds from a choice in a control to the legend and the picture that follow."""
    begin = CLOCK.monotonic()
    visit.page.locator("#by").select_option(act)
    sync_api.expect(visit.page.locator("#valued")).to_have_text(text)
    visit.page.evaluate(PAINTED)
    return CLOCK.monotonic() - begin


def test_fifty_thousand_cells(browser: sync_api.Browser, tmp_path: Path) -> None:
    cells = around(50.0, 8.3, CELLS)
    country(tmp_path / "cloud.db", cells, [T0 - 900, T0], silent=0.05)
    begin = CLOCK.monotonic()
    answer = frames.read_frames(tmp_path / "cloud.db", "operator", frames.Asked(), CLOCK.now())
    asked_s, size = CLOCK.monotonic() - begin, len(json.dumps(answer, separators=(",", ":")))
    assert len(answer["cells"]) == CELLS
    begin = CLOCK.monotonic()
    shapes = len(json.dumps([ring(cell) for cell in cells], separators=(",", ":")))
    print(f"\n{CELLS:,} cells: the frame {size / 1e6:.1f} MB, made in {asked_s:.1f} s; outlines from the server would "
          f"be {shapes / 1e6:.1f} MB more, made in {CLOCK.monotonic() - begin:.1f} s")
    server = http.start(tmp_path / "cloud.db", "127.0.0.1", 0, "operator")
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # a dict of two
    begin = CLOCK.monotonic()
    visit = Visit(context.new_page(), server.address)
    visit.settle()
    first_s = CLOCK.monotonic() - begin
    sync_api.expect(visit.page.locator("#seen")).to_contain_text("50,000 cells in view")
    outlines_ms = visit.page.evaluate("""(ids) => { const began = performance.now();
        ids.forEach((id) => h3.cellToBoundary(id, true)); return performance.now() - began; }""", cells)
    visit.page.evaluate(PAINTED)
    times = [shown_after(visit, by, text) for by, text in
             (("stock", "In-stock share"), ("complete", "Completeness"), ("demand", "Demand"))]
    rate = visit.page.evaluate(PAN, FRAMES)
    visit.page.goto("about:blank")
    server.stop()
    one_s, bare = with_one_cell(context, tmp_path)
    print(f"first picture {first_s:.1f} s, with one cell {one_s:.1f} s (outlines by h3-js {outlines_ms:.0f} ms); "
          f"another measure {statistics.median(times):.2f} s; panning {rate:.1f} frames/s, "
          f"{rate / bare:.2f} of the map without cells; drawn in software")
    context.close()


def with_one_cell(context: sync_api.BrowserContext, folder: Path) -> tuple[float, float]:
    """Seconds to the first picture, and frames per second, of the same page with one cell."""
    country(folder / "one.db", around(50.0, 8.3, 1), [T0])
    server = http.start(folder / "one.db", "127.0.0.1", 0, "operator")
    begin = CLOCK.monotonic()
    visit = Visit(context.new_page(), f"{server.address}/#at=8.3_50_6")
    visit.settle()
    first_s = CLOCK.monotonic() - begin
    visit.page.evaluate(PAINTED)
    rate = float(visit.page.evaluate(PAN, FRAMES))
    visit.page.close()
    server.stop()
    return first_s, rate


def test_from_a_movement_to_the_hexagon(browser: sync_api.Browser, broker: Broker, tmp_path: Path) -> None:
    """From the movement's place in the device's outbox, over a real broker and ingest, to the number on the page."""
    (tmp_path / "registry.toml").write_text(REGISTRY)
    buffer, port = Buffer(tmp_path / "outbox.db", CLOCK), free_port()

    def birth() -> wire.Birth:
        return wire.Birth(device="bench-1", st=buffer.stream, boot=1, t=CLOCK.now(), agent="bench", sensors={},
                          slots={})

    publisher = Publisher(Link(Address("bench-1", broker.host, broker.port)), buffer, CLOCK, Voice(birth))
    with running("cloud_ingest", "run", "--db", str(tmp_path / "cloud.db"), "--broker", f"127.0.0.1:{broker.port}",
                 "--http", f"127.0.0.1:{port}", "--scope", "operator", "--registry", str(tmp_path / "registry.toml")):
        wait_for_port(port)
        publisher.start()
        context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # a dict of two
        visit = Visit(context.new_page(), f"http://127.0.0.1:{port}/#w=1d")
        visit.settle()
        waits = [movement(buffer, visit, number) for number in range(1, MOVEMENTS + 1)]
        visit.page.goto("about:blank")
        context.close()
        publisher.stop()
    buffer.close()
    print(f"\n{MOVEMENTS} movements to the changed hexagon: median {statistics.median(waits):.2f} s, "
          f"at most {max(waits):.2f} s; {max(waits) / 5:.2f} of the five seconds that are allowed")


def movement(buffer: Buffer, visit: Visit, number: int) -> float:
    """Seconds until the page says that so many units were sold."""
    now = CLOCK.now()
    facts = [wire.Fact(f"slot/A1/{name}", now, wire.FLOW_UNITS[name], value, "ok", SKU)
             for name, value in (("sold", 1.0), ("in_stock", 1.0), ("observed", 1.0))]
    begin = CLOCK.monotonic()
    buffer.put(facts)
    sync_api.expect(visit.page.locator(".cell")).to_have_attribute(
        "aria-label", re.compile(f": demand {number}, 1 store$"))
    visit.page.evaluate(PAINTED)
    return CLOCK.monotonic() - begin
