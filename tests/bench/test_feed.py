"""Combining a day of the facts of very many shops into cells, beside one bare DuckDB scan and group of the same rows.

    CORNERGRID_SHOPS=100000 python -m pytest -q -s -m bench tests/bench/test_feed.py

The rows are dense: a device says of every slot and window for how long it saw it and for how long it was in stock, so
a day of 100,000 shops with 50 SKUs is 480 million rows; sparse are the sales in them, in about one of twenty.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import h3
import msgspec
import numpy as np
import pyarrow as pa
import pytest

from cloud_ingest.facts import engine
from edge.clock import SystemClock

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3000)]
SHOPS = int(os.environ.get("CORNERGRID_SHOPS", "8000"))
SKUS, DAY, WINDOWS, TOWN = 50, 1_772_409_600, 96, 500
CLOCK = SystemClock()
FACTS = f"""
COPY (SELECT store, 'sku-' || sku AS sku, {DAY}::BIGINT AS win,
             CASE WHEN h % 20 = 0 THEN 1e0 + h % 3 ELSE 0e0 END AS sold, CASE WHEN h % 600 = 0 THEN 1e0 ELSE 0e0 END
             AS put_back, CASE WHEN h % 400 = 1 THEN 24e0 ELSE 0e0 END AS restocked,
             CASE WHEN h % 11 = 2 THEN 300e0 ELSE 900e0 END AS in_stock, 900e0 AS observed, 1::BIGINT AS rev, cell
      FROM (SELECT *, hash(store, sku) AS h FROM shops, range({SKUS}) AS s(sku) ORDER BY store, sku))
TO '{{file}}' (FORMAT parquet, COMPRESSION zstd)
"""
WINDOW = "SELECT * REPLACE (win + {at} AS win) FROM read_parquet('{file}')"
BARE = """
SELECT cell, sku, win, sum(sold), sum(put_back), sum(restocked), sum(in_stock), sum(observed), max(rev)
FROM ({window}) GROUP BY ALL
"""


def shops(count: int) -> pa.Table:
    """Shops in towns of TOWN, most of them near the middle."""
    rng = np.random.default_rng(7)
    towns = -(-count // TOWN)
    middle = np.repeat(np.stack([rng.uniform(-30, 55, towns), rng.uniform(-110, 140, towns)], axis=1), TOWN, axis=0)
    place = middle[:count] + rng.normal(0, 0.03, (count, 2))
    r9 = [h3.latlng_to_cell(lat, lon, 9) for lat, lon in place]
    cells = {f"r{level}": pa.array([h3.str_to_int(h3.cell_to_parent(cell, level)) for cell in r9], pa.uint64())
             for level in (9, 8, 7, 6, 5)}
    return pa.table({"store": [f"store-{i:06}" for i in range(count)], "cell": cells["r8"], **cells})


def write_facts(folder: Path, count: int) -> None:
    """The registry, and the facts of one window, which stands for each of the day."""
    with engine() as duck:
        duck.register("shops", shops(count))
        duck.execute(f"COPY (SELECT * FROM shops) TO '{folder}/shops.parquet'")
        duck.execute(FACTS.format(file=folder / "facts.parquet"))


def measure(kind: str, folder: Path) -> dict[str, float]:
    """Seconds, rows out and peak memory of one way over the whole day, in a process of its own."""
    code = f"from tests.bench.test_feed import {kind}; from pathlib import Path; {kind}(Path({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=dict[str, float])


def bare(folder: Path) -> None:
    """One scan and group of each window, by cell, SKU and window; the cell stands in the file."""
    with engine() as duck:
        start, out = CLOCK.monotonic(), 0
        for number in range(WINDOWS):
            window = WINDOW.format(at=900 * number, file=folder / "facts.parquet")
            out += duck.sql(BARE.format(window=window)).to_arrow_table().num_rows
        _tell(start, out)


def combined(folder: Path) -> None:
    """The feed's rows of resolution 8 and 15 minutes: places, opening hours, names, counts, estimates, schema."""
    from cloud_ingest import cells, estimates, facts  # noqa: PLC0415  # the other way does not pay for it

    with engine() as duck:
        _registry(duck, folder)
        start, out = CLOCK.monotonic(), 0
        for number in range(WINDOWS):
            begin = DAY + 900 * number
            window = WINDOW.format(at=900 * number, file=folder / "facts.parquet")
            duck.execute(f"CREATE OR REPLACE VIEW flow AS {window}")
            facts.load_hours(duck, begin, begin + 900)
            estimates.simple(duck)
            out += cells.combine(duck, 8, 900).num_rows
        _tell(start, out)


def _registry(duck: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """As `facts.load_registry` makes it: three zones, shops that close at night, and a SKU that was renamed."""
    duck.execute(f"""
        CREATE TABLE place AS SELECT row_number() OVER (ORDER BY r9, store) - 1 AS shop,
            (hash(store) % 3)::BIGINT AS schedule,
            store, 0::BIGINT AS since, {2**62}::BIGINT AS until,
            ['UTC', 'Europe/Berlin', 'Asia/Kolkata'][(hash(store) % 3)::BIGINT + 1] AS tz,
            'Mo-Su 06:00-23:00' AS hours,
            r9, r8, r7, r6, r5 FROM '{folder}/shops.parquet'""")
    duck.execute("CREATE TABLE renamed AS SELECT 'sku-7' AS old, 'sku-8' AS sku")
    duck.execute(f"CREATE TABLE progress AS SELECT store, {DAY + 86_400.0} AS complete_to FROM place")


def _tell(start: float, out: int) -> None:
    seconds, used = CLOCK.monotonic() - start, os.times()
    peak = int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines()
                    if line.startswith("VmHWM")))
    print(msgspec.json.encode({"seconds": seconds, "cpu": used.user + used.system, "rows": float(out),
                               "peak_mb": peak / 1024}).decode())


def test_combining_a_day_beside_a_bare_group(tmp_path: Path) -> None:
    times = []
    print(f"\n{'shops':>8} {'rows in':>12} {'rows out':>12} {'bare':>16} {'combine':>16} {'ratio':>12} {'rows/s':>10} "
          f"{'peak':>8}    (s: wall, CPU)")
    for part in (8, 4, 2, 1):
        count = SHOPS // part
        folder = tmp_path / str(count)
        folder.mkdir()
        write_facts(folder, count)
        rows = count * SKUS * WINDOWS
        one, other = measure("bare", folder), measure("combined", folder)
        times.append((rows, other["cpu"]))
        ratios = f"{other['seconds'] / one['seconds']:.2f}, {other['cpu'] / one['cpu']:.2f}"
        print(f"{count:8} {rows:12,} {other['rows']:12,.0f} {one['seconds']:7.1f}, {one['cpu']:6.1f}  "
              f"{other['seconds']:7.1f}, {other['cpu']:6.1f} {ratios:>13} {rows / other['seconds']:10,.0f} "
              f"{other['peak_mb']:5.0f} MB", flush=True)
    slope, fixed = np.polyfit([rows for rows, _ in times], [cpu for _, cpu in times], 1)
    print(f"CPU = {fixed:.1f} s + {1e6 * slope:.3f} s a million rows; off that line by "
          + ", ".join(f"{100 * (cpu / (fixed + slope * rows) - 1):+.0f}%" for rows, cpu in times))
    print("".join(f"{rows / 1e6:7.0f} M {'#' * round(60 * cpu / times[-1][1])} {cpu:.1f} s\n" for rows, cpu in times))
