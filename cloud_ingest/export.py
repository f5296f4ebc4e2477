"""The export folder: the feed as Parquet, partitioned the Hive way, which DuckDB, Spark and pandas read as one table.

    <folder>/feed/window=1d/resolution=7/date=2026-03-02/rows.parquet     the columns of `cloud_ingest.rows`
    <folder>/catalogue.parquet                                            SKU, name, category, amount, unit
    <folder>/README.md                                                    what the columns mean

Each file takes its place whole, and a day without rows has none, so a reader at any time sees whole days. Only days
of which the feed has changed since the last export are written: `.exported.json` says which state they are of. What is
learned anew with each release changes none: it would have every day written every time, and the README says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from cloud_ingest.catalogue import read_catalogue
from cloud_ingest.facts import reading
from cloud_ingest.feed import DAY_S, Query, tables
from cloud_ingest.release import Tick, alone, date_name, files_of, state_of
from cloud_ingest.release import days_of as published_days
from cloud_ingest.release import replace as put
from cloud_ingest.rows import MEANING
from edge.errors import ConfigError, Problem

ROWS = "feed"
"""Where the rows lie, and nothing else: readers take every file of a folder for a part of the table."""
_ABOUT = """# Demand feed

`feed/` is Parquet, partitioned by window, resolution and date (UTC). `catalogue.parquet` has the SKUs.

    pandas.read_parquet("feed/window=1d/resolution=7")
    spark.read.parquet("feed")
    SELECT * FROM read_parquet('feed/**/*.parquet', hive_partitioning = true)    -- DuckDB

A day's file keeps the estimates of the time it was written, as long as no facts come for that day: `demand_low` and
`demand_high`, in the operator's feed also `demand`, `lost` and `silent`. Over HTTP every day is told by the newest
estimates. To have that here, delete `feed/.exported.json` and export again: every day is then written anew.

| column | meaning |
|---|---|
"""
NAMES = {900: "15m", 3600: "1h", DAY_S: "1d"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, of `days` that had changed."""

    days: int
    files: int
    rows: int


def export(query: Query, folder: Path, resolutions: tuple[int, ...], windows: tuple[int, ...], tick: Tick) -> Exported:
    """Bring the folder up to date with the query's days; its own resolution and window are replaced by those given.

    ConfigError for a window that does not divide a day: its rows would belong to two partitions.
    """
    bad = [window for window in windows if window > DAY_S or DAY_S % window]
    if bad:
        raise ConfigError("export", (Problem("window", f"{bad[0]} s does not divide a day", "use 15m, 1h or 1d"),))
    with alone(folder, tick):
        done = _export(query, folder / ROWS, resolutions, windows, tick)
        _write_about(query.db, folder)
        return done


def _export(query: Query, folder: Path, resolutions: tuple[int, ...], windows: tuple[int, ...], tick: Tick) -> Exported:
    folder.mkdir(parents=True, exist_ok=True)
    told = _marks(folder)
    if others := {mark.partition(" ")[0] for mark in told.values()} - {query.scope}:
        raise ConfigError(str(folder), (Problem("scope", f"the folder holds the {others.pop()} feed",
                                                f"give the {query.scope} feed a folder of its own"),))
    done = Exported(0, 0, 0)
    for date, mark in _days(query):
        name = date_name(date)
        todo = f"{query.scope} {mark} {sorted(resolutions)} {sorted(windows)} {replace(query, since=None, until=None)}"
        if told.get(name) == todo:
            continue
        tick(name)
        span = replace(query, since=float(date * DAY_S), until=float((date + 1) * DAY_S))
        for window in windows:
            for resolution in resolutions:
                rows = _write(replace(span, resolution=resolution, window_s=window), folder, name)
                done = Exported(done.days, done.files + bool(rows), done.rows + rows)
        done = replace(done, days=done.days + 1)
        told[name] = todo
        put(folder / ".exported.json", lambda path: path.write_bytes(msgspec.json.encode(told)))
    return done


def _marks(folder: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((folder / ".exported.json").read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        raise ConfigError(str(folder), (Problem(".exported.json", f"is damaged: {error}",
                                                "delete it, and every day is written again"),)) from error


def _days(query: Query) -> Iterator[tuple[int, str]]:
    """The days the query has, oldest first, and a mark of each that changes when its rows may."""
    with reading(query.db) as source:
        names = source.execute("SELECT old, sku FROM renamed ORDER BY old").fetchall()
        found = [] if query.scope == "public" else [(date, f"{revision} {count}") for date, revision, count in
            source.execute("SELECT window / 86400, max(rev), count(*) FROM flow GROUP BY 1 ORDER BY 1")]
    if query.scope == "public":
        state = state_of(query.db)
        found = [(date, str(len(files_of(query.db, "rows", date, state)))) for date in published_days(query.db)]
    if names:
        found = [(date, f"{mark} {crc32(repr(names).encode())}") for date, mark in found]
    since, until = query.since or 0.0, 2.0**40 if query.until is None else query.until
    yield from ((date, mark) for date, mark in found if (date + 1) * DAY_S > since and date * DAY_S < until)


def _write(query: Query, folder: Path, name: str) -> int:
    target = folder / f"window={_window_name(query.window_s)}" / f"resolution={query.resolution}" / f"date={name}"
    found = list(tables(query))
    file = target / "rows.parquet"
    if not found:
        file.unlink(missing_ok=True)
        return 0
    target.mkdir(parents=True, exist_ok=True)
    table = pa.concat_tables(found)
    put(file, lambda path: pq.write_table(table, path, compression="zstd"))
    return int(table.num_rows)


def _window_name(window_s: int) -> str:
    return NAMES.get(window_s, f"{window_s // 60}m")


def _write_about(db: Path, folder: Path) -> None:
    put(folder / "catalogue.parquet", lambda path: pq.write_table(read_catalogue(db), path))
    lines = "".join(f"| {name} | {meaning} |\n" for name, meaning in MEANING.items())
    put(folder / "README.md", lambda path: path.write_text(_ABOUT + lines, encoding="utf-8"))
