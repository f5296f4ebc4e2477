"""The demand feed: one question, asked of what is published or of everything, answered table by table, newest first.

The public feed is what `cloud_ingest.release` has published: whole days, nothing that tells of few shops. The
operator's feed is everything the ingest has, up to this moment, nothing withheld; so is a shop's own.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from cloud_ingest import published
from cloud_ingest.area import EVERYWHERE, Area, within
from cloud_ingest.cells import combine
from cloud_ingest.facts import Span, engine, load_flow, load_registry, reading
from cloud_ingest.kept import keeping
from cloud_ingest.model import parameters_of
from cloud_ingest.release import state_of
from cloud_ingest.rows import SCHEMA, FeedRow, Scope, rows_of
from edge.errors import ConfigError, Problem
from edge.wire import WINDOW_S

RESOLUTIONS = (5, 6, 7, 8, 9)
MAX_WINDOW_S = 366 * 86_400
DAY_S = 86_400
EVER = 2**40


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: rows of `resolution` and `window_s` in the area, of these SKUs and of this category.

    `since` and `until` (Unix seconds) are widened to whole windows. `store` asks for one shop's own numbers. `after`
    is the cursor of the last row that was already had, `limit` how many rows at most.
    """

    db: Path
    scope: Scope = "public"
    resolution: int = 8
    window_s: int = WINDOW_S
    area: Area = EVERYWHERE
    skus: tuple[str, ...] | None = None
    category: str | None = None
    since: float | None = None
    until: float | None = None
    store: str | None = None
    after: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A query as far as the database is needed to understand it; None: no restriction."""

    skus: list[str] | None
    since: int
    until: int


def tables(query: Query) -> Iterator[pa.Table]:
    """The answer as tables of SCHEMA, newest first, each of a day or a window, whichever is longer; never empty ones.

    ConfigError for what is not to be had, StoreError for the database; both before the first table.
    """
    _check(query)
    after = None if query.after is None else _position(query)
    left = query.limit
    for found in _found(query, after):
        table = found if after is None else found.filter(_behind(found, after))
        if left is not None:
            table = table.slice(0, left)
            left -= len(table)
        if len(table):
            yield table
        if left == 0:
            return


def read_feed(query: Query) -> list[FeedRow]:
    """The whole answer in memory."""
    return [row for table in tables(query) for row in rows_of(table)]


def cursor(query: Query, row: FeedRow) -> str:
    """Where to go on behind `row`, as `after` of the same question."""
    place = [_digest(query), row.start, row.cell, row.sku]
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def revision(db: Path, scope: Scope) -> int:
    """What grows whenever the feed's rows may have changed: the release, or the database's revision."""
    if scope == "public":
        return state_of(db).release
    with reading(db) as source:
        return int(source.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0])


def stamp(query: Query) -> str:
    """What changes whenever the answer may, beside `revision`: names and categories, and what the estimates learned."""
    if query.scope == "operator":  # a change of the catalogue or the registry is a revision
        learned = query.db.with_name(f"{query.db.name}.model.npz")
        return str(learned.stat().st_mtime_ns if learned.exists() else 0)
    with reading(query.db) as source:
        renamed = source.execute("SELECT old, sku FROM renamed ORDER BY old").fetchall()
        of_it = [] if query.category is None else source.execute(
            "SELECT id FROM sku WHERE category = ? ORDER BY id", (query.category,)).fetchall()
    return repr((renamed, of_it))


def latest_window(db: Path, now: float, window_s: int = WINDOW_S) -> int | None:
    """The start of the newest window that has facts; None before the first.

    A few shops whose clocks are ahead of `now` (Unix seconds) do not count; where half of those heard are, `now` is
    behind, as in a simulation.
    """
    with reading(db) as source:
        newest = source.execute("SELECT max(window) FROM flow").fetchone()[0]
        if newest is not None and newest > now:
            heard, ahead = source.execute(
                "SELECT count(*), total(newest > ?) FROM (SELECT max(window) AS newest FROM flow WHERE window > ? "
                "GROUP BY store)", (now, now - DAY_S)).fetchone()
            if 2 * ahead < heard:
                newest = source.execute("SELECT max(window) FROM flow WHERE window <= ?", (now,)).fetchone()[0]
    return None if newest is None else int(newest) // window_s * window_s


def _check(query: Query) -> None:
    problems = []
    if query.resolution not in RESOLUTIONS:
        problems.append(Problem("resolution", f"{query.resolution} is not stored", "use 5, 6, 7, 8 or 9"))
    if query.window_s <= 0 or query.window_s % WINDOW_S or query.window_s > MAX_WINDOW_S:
        problems.append(Problem("window", f"{query.window_s} s is no multiple of {WINDOW_S // 60}m",
                                "use 15m, 30m, 1h or 1d"))
    if query.store is not None and query.scope == "public":
        problems.append(Problem("store", "one shop's numbers are not public", "ask with the scope operator"))
    if query.limit is not None and query.limit < 1:
        problems.append(Problem("limit", f"is {query.limit}", "at least 1"))
    if problems:
        raise ConfigError("feed", tuple(problems))


def _found(query: Query, after: tuple[int, str, str] | None) -> Iterator[pa.Table]:
    """The tables without cursor and limit; of the whole window of the cursor still all."""
    with reading(query.db) as source:
        plan = _plan(query, source)
        if after is not None:
            plan = replace(plan, until=min(plan.until, after[0] + query.window_s))
        if plan.skus == []:
            return
        if query.scope == "public":
            yield from published.tables(query.db, state_of(query.db), query.resolution, query.window_s, plan.skus,
                                        plan.since, plan.until, query.area)
        else:
            yield from _everything(query, plan, source)


def _plan(query: Query, source: sqlite3.Connection) -> _Plan:
    today = dict(source.execute("SELECT old, sku FROM renamed"))
    skus = None if query.skus is None else [today.get(sku, sku) for sku in query.skus]
    if query.category is not None:
        of_it = [row[0] for row in source.execute("SELECT id FROM sku WHERE category = ?", (query.category,))]
        if not of_it:
            raise ConfigError("feed", (Problem("category", f"{query.category!r} has no SKU in the catalogue",
                                               "see `cornergrid-cloud catalogue list`"),))
        skus = of_it if skus is None else [sku for sku in skus if sku in of_it]
    since = -EVER if query.since is None else int(query.since // query.window_s) * query.window_s
    until = EVER if query.until is None else -int(-query.until // query.window_s) * query.window_s
    return _Plan(skus, since, until)


def _cells(query: Query, source: sqlite3.Connection) -> list[int] | None:
    """The cells of the area that have, or had, a shop."""
    if query.area == EVERYWHERE:
        return None
    every = source.execute(f"SELECT DISTINCT r{query.resolution} FROM place ORDER BY 1")  # noqa: S608  # checked
    return within(query.area, [int(cell, 16) for (cell,) in every], query.resolution)


def _everything(query: Query, plan: _Plan, source: sqlite3.Connection) -> Iterator[pa.Table]:
    step = max(query.window_s, DAY_S // query.window_s * query.window_s)
    oldest, newest = source.execute("SELECT (SELECT min(window) FROM flow), (SELECT max(window) FROM flow)").fetchone()
    cells = _cells(query, source)
    if oldest is None or cells == []:
        return
    first, last = max(oldest, plan.since) // step, (min(newest + WINDOW_S, plan.until) - 1) // step
    for number in range(last, first - 1, -1):
        begin, end = max(number * step, plan.since), min((number + 1) * step, plan.until)
        if source.execute("SELECT 1 FROM flow WHERE window >= ? AND window < ? LIMIT 1", (begin, end)).fetchone():
            with engine() as duck, keeping(query.db) as kept:
                load_registry(duck, source)
                load_flow(duck, source, Span(begin, end, query.window_s), kept.day)
                if query.store is not None:
                    duck.execute("DELETE FROM place WHERE store != ?", [query.store])
                yield combine(duck, query.resolution, query.window_s, plan.skus, cells, parameters_of(query.db))


def _behind(table: pa.Table, after: tuple[int, str, str]) -> pa.Array:
    """Which rows come after that place: later in the order of start downwards, cell, SKU."""
    start, cell, sku = after
    same = pc.and_(pc.equal(table["start"], start), pc.or_(pc.greater(table["cell"], cell), pc.and_(
        pc.equal(table["cell"], cell), pc.greater(table["sku"], sku))))
    return pc.or_(pc.less(table["start"], start), same)


def _position(query: Query) -> tuple[int, str, str]:
    given = query.after or ""
    try:
        digest, start, cell, sku = msgspec.json.decode(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)),
                                                       type=tuple[str, int, str, str])
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError("feed", (Problem("after", f"{given[:80]!r} is no cursor", "take it from the answer before"),
                                   )) from error
    if digest != _digest(query):
        raise ConfigError("feed", (Problem("after", "is of another question", "ask the same question on every page"),))
    return start, cell, sku


def _digest(query: Query) -> str:
    """What tells one question from another, wherever it goes on and however much it asks for at once."""
    return hashlib.sha256(repr(replace(query, after=None, limit=None)).encode()).hexdigest()[:16]


def parse_window(text: str, key: str = "window") -> int:
    """Seconds from `15m`, `2h` or `1d`; ConfigError under `key` for anything else."""
    match = re.fullmatch(r"(\d{1,6})([mhd])", text.strip())
    if match is None:
        raise ConfigError("feed", (Problem(key, f"{text!r} is no duration", "use 15m, 30m, 1h or 1d"),))
    return int(match[1]) * {"m": 60, "h": 3600, "d": 86_400}[match[2]]


def parse_time(text: str | None, key: str = "since") -> float | None:
    """Unix seconds from Unix seconds or an ISO 8601 time (UTC where it names no zone); ConfigError under `key` else."""
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{1,11}(\.\d+)?", text):
            return float(text)
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ConfigError("feed", (Problem(key, f"{text!r} is no time",
                                           "use 2026-03-02T08:00 (UTC) or Unix seconds"),)) from error


def whole(found: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables, the first already read, so that a fault shows before anything is sent; one empty where none."""
    first = next(found, SCHEMA.empty_table())
    return itertools.chain([first], found)
