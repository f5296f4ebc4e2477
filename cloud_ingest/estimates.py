"""The one place where the feed asks for estimates: what each series lost, and what silent ones would have sold.

`learn` teaches `cloud_ingest.estimate` the last weeks and keeps the model beside the database (`cloud_ingest.model`);
publishing does it once a day. From then on each day (of UTC) is estimated as a whole, late facts included, in two
steps: `hear` adds up what the estimate of a day needs to know of each series, which is additive and can be kept;
`add` puts that day's estimate on whichever windows are asked for. Before the first lesson a series that was in stock
for a part of a window is taken to have sold on evenly, at most MOST times as much, and nothing is said about silent
ones.

    heard      store, sku, day (local), sold, seen, gap: what a series sold, and the parts of a usual day's sales that
               fell into time in stock and out of stock
    estimated  flow with units `lost` and their `variance`; null where not known
    quiet      store, sku, win and units `silent`, where a series of a shop that is open sent nothing
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloud_ingest.demand import MOST
from cloud_ingest.estimate import estimator, posterior
from cloud_ingest.estimate.calibrate import calibrate
from cloud_ingest.estimate.local import Flow, local_slots, to_windows
from cloud_ingest.estimate.parameters import Parameters, read_parameters
from cloud_ingest.estimate.rows import Days, Floats, Ints, Windows, by_day, grouped, join
from cloud_ingest.model import LEARNED, SLOTS, Known, nothing, save, with_new
from edge.wire import WINDOW_S

CALIBRATE_DAYS = 14
LEAST = 1e-9
"""Parts of a day's sales: what adding up in another order may leave of nothing."""
SIMPLE = f"""
CREATE OR REPLACE VIEW estimated AS
SELECT *, CASE WHEN in_stock > 0 AND observed > in_stock THEN sold * (least({MOST}, observed / in_stock) - 1)
               WHEN in_stock > 0 AND observed > 0 THEN 0 END AS lost, CAST(NULL AS DOUBLE) AS variance
FROM flow
"""  # noqa: S608  # a constant
QUIET = pa.schema([("store", pa.string()), ("sku", pa.string()), ("win", pa.int64()), ("silent", pa.float64())])
NO_QUIET = ("CREATE OR REPLACE TABLE quiet AS SELECT '' AS store, '' AS sku, CAST(0 AS BIGINT) AS win, "
            "CAST(0 AS DOUBLE) AS silent WHERE false")
HEARD = pa.schema([("store", pa.string()), ("sku", pa.string()), ("day", pa.int32()), ("sold", pa.float64()),
                   ("seen", pa.float64()), ("gap", pa.float64())])
_NUMBERED = pa.schema([("number", pa.int64()), ("win", pa.int64()), ("silent", pa.float64())])
_SEEN = f"""
SELECT {{names}}, place.tz, coalesce(opened.part, 1) * {WINDOW_S} AS open_s,
       flow.in_stock * coalesce(opened.part, 1) AS stock_s, flow.observed * coalesce(opened.part, 1) AS seen_s
FROM flow {{known}}
JOIN place ON place.store = flow.store AND flow.win >= place.since AND flow.win < place.until
LEFT JOIN opened ON opened.schedule = place.schedule AND opened.win = flow.win
"""  # noqa: S608  # a constant
_OF_SERIES = _SEEN.format(names="flow.*, known.number", known="JOIN known ON known.store = flow.store AND known.sku = "
                                                              "flow.sku")
_OF_NAMES = _SEEN.format(names="flow.store, flow.sku, flow.win, flow.sold", known="")
_ADD_UP = "SELECT store, sku, day, sum(sold) AS sold, sum(seen) AS seen, sum(gap) AS gap FROM {rows} GROUP BY ALL"
_PLACED = """
SELECT known.number, place.tz, place.schedule, greatest(place.since, $begin) AS since, least(place.until, $end) AS until
FROM known JOIN place USING (store) WHERE place.since < $end AND place.until > $begin
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """Windows from `begin` on before `end`, of one day of UTC; silence is added up over `bucket_s` and ends with the
    window `newest`, the day's last of which anybody has sent something. All in Unix seconds."""

    begin: int
    end: int
    bucket_s: int
    newest: int


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Series `numbers` of shops in one time zone, with one schedule, that stood there in these windows: their starts,
    local days, weekdays and slots, and which part of each is open."""

    numbers: Ints
    windows: Ints
    days: Ints
    weekdays: Ints
    slots: Ints
    opened: Floats


def simple(duck: duckdb.DuckDBPyConnection) -> None:
    """Make `estimated` from `flow` without a model, and an empty `quiet`."""
    duck.execute(NO_QUIET)
    duck.execute(SIMPLE)


def modelled(duck: duckdb.DuckDBPyConnection) -> bool:
    """Whether `estimated` knows variances."""
    return duck.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'known'").fetchall() != []


def interval(lost: Floats, variance: Floats, parameters: Parameters | None = None) -> tuple[Floats, Floats]:
    """The 80% interval of what a cell lost, with what its series have in common; not a number where not known.

    `parameters` are those of `model.parameters_of`, or the shipped ones.
    """
    chosen = parameters or read_parameters()
    known = np.isfinite(variance)
    part = np.where(known, lost, 0.0)
    low, high = posterior.interval(part, np.where(known, variance, 0.0) + chosen.common * part * part,
                                   whole=chosen.whole)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def learn(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, target: Path) -> int:
    """Teach the model the loaded flow and keep it in `target`; returns the number of series."""
    known = with_new(duck, nothing(), "SELECT DISTINCT store, sku FROM flow", categories(source))
    if not len(known.stores):
        return 0
    history = list(by_day(_windows(duck.sql(_OF_SERIES).to_arrow_table(), "number")))
    model = estimator.learn(history, known.model.series, SLOTS, known.model.parameters)
    found = calibrate(history[-CALIBRATE_DAYS:], model)
    model = replace(model, parameters=msgspec.structs.replace(
        model.parameters, **{name: getattr(found, name) for name in LEARNED}))
    save(target, replace(known, model=model))
    return len(known.stores)


def categories(source: sqlite3.Connection) -> dict[str, str]:
    """The category of each SKU of the catalogue."""
    return dict(source.execute("SELECT id, category FROM sku"))


def hear(duck: duckdb.DuckDBPyConnection, known: Known) -> pa.Table:
    """A table of HEARD from `flow` and the registry, by a model's shares of the day."""
    table = duck.sql(_OF_NAMES).to_arrow_table()
    codes = pc.index_in(table.column("sku").combine_chunks(), known.skus).fill_null(len(known.skus))
    table = table.append_column("number", codes)
    parts = []
    for tz, some in _zones(table):
        windows = _of_zone(some, tz, "number")
        share = _shares(known, windows.series, windows)
        parts.append(pa.table({"store": some.column("store"), "sku": some.column("sku"), "day": windows.day.astype(
            np.int32), "sold": windows.sold, "seen": share * windows.in_stock,
            "gap": share * (windows.observed - windows.in_stock)}, schema=HEARD))
    return added(duck, pa.concat_tables([HEARD.empty_table(), *parts]))


def added(duck: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
    """A table of HEARD with one row for each series and day."""
    duck.register("incoming", rows)
    found = duck.sql(_ADD_UP.format(rows="incoming")).to_arrow_table().cast(HEARD)
    duck.unregister("incoming")
    return found


def add(duck: duckdb.DuckDBPyConnection, known: Known, heard: pa.Table, asked: Asked) -> tuple[pa.Table, pa.Table]:
    """The rows of `estimated` and of `quiet` for `flow`, the facts of those windows, and the day's `heard`.

    `known` must hold the series of both: see `model.with_new`.
    """
    rates = _Rates(duck, known, heard)
    table = duck.sql(_OF_SERIES).to_arrow_table()
    order = pc.sort_indices(table.column("tz"))
    table = table.take(order)
    windows = _windows(table, "number")
    lost, variance = (np.zeros(len(table)) for _ in range(2))
    for day in np.unique(windows.day):
        rows = np.flatnonzero(windows.day == day)
        lost[rows], variance[rows] = rates.on(windows.of(rows), int(day))
    dark = pa.array((table.column("seen_s").to_numpy() <= 0) & (table.column("sold").to_numpy() <= 0))
    names = [name for name in table.column_names if name not in {"number", "tz", "open_s", "stock_s", "seen_s"}]
    estimated = table.select(names).append_column("lost", pc.if_else(dark, None, pa.array(lost))).append_column(
        "variance", pc.if_else(dark, None, pa.array(variance)))
    start = table.column("win").to_numpy().astype(np.int64)
    return estimated, _quiet(duck, known, rates, asked, windows, start)


class _Rates:
    """The estimate of each local day, of all series, made when it is asked for."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, known: Known, heard: pa.Table) -> None:
        self._known = known
        duck.register("incoming", heard)
        found = duck.sql("SELECT number, day, sold, seen, gap FROM incoming JOIN known USING (store, sku)"
                         ).to_arrow_table()
        duck.unregister("incoming")
        self._day, self._number = (found.column(name).to_numpy().astype(np.intp) for name in ("day", "number"))
        self._values = [found.column(name).to_numpy() for name in ("sold", "seen", "gap")]
        self._made: dict[int, estimator.DayEstimate] = {}

    def of(self, day: int, weekday: int) -> estimator.DayEstimate:
        """The estimate of a local day, one row for each series."""
        if day not in self._made:
            size = self._known.model.series.store.size
            rows = self._day == day
            sold, seen, gap = (grouped(self._number[rows], values[rows], size) for values in self._values)
            self._made[day] = estimator.estimate(Days(np.arange(size), weekday, sold, seen, gap, np.zeros(size)),
                                                 self._known.model)
        return self._made[day]

    def on(self, part: Windows, day: int) -> tuple[Floats, Floats]:
        """Units lost, and their variance, on windows of one local day.

        A day's windows err together: the day's variance is shared out by what each lost, so that windows add up to it.
        """
        found = self.of(day, int(part.weekday[0]))
        lost = estimator.by_window(part, self._known.model, found).lost
        total = found.estimates.lost[part.series]
        return lost, found.estimates.variance[part.series] * np.divide(lost, total, out=np.zeros_like(total),
                                                                       where=total > LEAST * LEAST)


def _quiet(duck: duckdb.DuckDBPyConnection, known: Known, rates: _Rates, asked: Asked, windows: Windows,
           start: Ints) -> pa.Table:
    """What silent series would have sold: the exposure of all open windows, less that of the windows observed.

    A shop that moves stands in two places on one day; time is cut there, too, so that each row has one place.
    """
    places = list(_places(duck, asked))
    edges = {*range(asked.begin // asked.bucket_s * asked.bucket_s, asked.end, asked.bucket_s), asked.begin}
    edges |= {int(edge) for place in places if place.windows.size for edge in (
        place.windows[0], place.windows[-1] + WINDOW_S)}
    cuts = np.array(sorted(edge for edge in edges if asked.begin <= edge < asked.end), dtype=np.int64)
    observed = _shares(known, known.model.series.sku[windows.series], windows) * windows.observed
    found = [pa.table([[], [], []], schema=_NUMBERED)]
    size = known.model.series.store.size
    cell = np.searchsorted(cuts, start, side="right") - 1
    for number, cut in enumerate(cuts):
        for (day, weekday), opened in _exposures(known, places, number, cuts).items():
            rows = np.flatnonzero((cell == number) & (windows.day == day))
            left = opened - grouped(windows.series[rows], observed[rows], size)
            silent = np.flatnonzero(left > LEAST)
            if silent.size:
                units = rates.of(day, weekday).estimates.rate[silent] * left[silent]
                found.append(pa.table([silent, np.full(silent.size, cut), units], schema=_NUMBERED))
    duck.register("incoming", pa.concat_tables(found))
    table = duck.sql("SELECT store, sku, win, silent FROM incoming JOIN known USING (number)").to_arrow_table()
    duck.unregister("incoming")
    return table.cast(QUIET)


def _exposures(known: Known, places: list[_Place], number: int, cuts: Ints) -> dict[tuple[int, int], Floats]:
    """Per local day and its weekday: the part of a usual day's sales that falls into open windows of a cut."""
    found: dict[tuple[int, int], Floats] = {}
    series, profiles = known.model.series, known.model.profiles
    for place in places:
        begin, end = np.searchsorted(place.windows, [cuts[number], cuts[number + 1] if number + 1 < len(cuts)
                                                     else np.iinfo(np.int64).max])
        opened = np.flatnonzero(place.opened[begin:end] > 0) + begin
        for day in np.unique(place.days[opened]):
            mine = opened[place.days[opened] == day]
            weekday = int(place.weekdays[mine[0]])
            share = profiles.share[:, int(profiles.busy[weekday])][:, place.slots[mine]] @ place.opened[mine]
            exposure = found.setdefault((int(day), weekday), np.zeros(series.store.size))
            exposure[place.numbers] += share[series.sku[place.numbers]]
    return found


def _places(duck: duckdb.DuckDBPyConnection, asked: Asked) -> Iterator[_Place]:
    """Where the series stood in the windows asked for, up to the newest."""
    hours = duck.sql("SELECT schedule, win, part FROM opened ORDER BY schedule, win").to_arrow_table()
    schedule, start, part = (hours.column(name).to_numpy() for name in ("schedule", "win", "part"))
    begin, end = asked.begin, min(asked.end, asked.newest + WINDOW_S)
    duck.execute(f"CREATE OR REPLACE TEMP TABLE stood AS {_PLACED}", {"begin": begin, "end": end})
    duck.execute("CREATE OR REPLACE TEMP TABLE stands AS SELECT *, dense_rank() OVER (ORDER BY tz, schedule, since, "
                 "until) AS kind FROM stood")
    for kind, tz, which, since, until in duck.execute(
            "SELECT DISTINCT kind, tz, schedule, since, until FROM stands").fetchall():
        first = -(-since // WINDOW_S) * WINDOW_S
        windows = np.arange(first, until, WINDOW_S, dtype=np.int64)
        mine = schedule == which
        opened = np.ones(windows.size)
        if mine.any():
            opened = part[mine][np.searchsorted(start[mine], windows)]
        numbers = duck.execute("SELECT number FROM stands WHERE kind = ?", [kind]).fetchnumpy()["number"]
        yield _Place(np.asarray(numbers, dtype=np.intp), windows, *local_slots(windows, tz, WINDOW_S), opened)


def _shares(known: Known, sku: Ints, windows: Windows) -> Floats:
    """The part of a usual day's sales in each window; `sku` past the model's SKUs stands for one that it has not."""
    profiles = known.model.profiles
    share = np.concatenate([profiles.share, profiles.share.mean(0, keepdims=True)])
    return np.asarray(share[sku, profiles.busy[windows.weekday].astype(np.intp), windows.slot])


def _zones(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each time zone."""
    names = pc.unique(table.column("tz")).to_pylist()
    for tz in sorted(names):
        yield tz, table if len(names) == 1 else table.filter(pc.equal(table.column("tz"), tz))


def _windows(table: pa.Table, number: str) -> Windows:
    """The rows of _SEEN on the wall clocks of their shops, one time zone after the other."""
    return join([_of_zone(some, tz, number) for tz, some in _zones(table)] or [_of_zone(table, "UTC", number)])


def _of_zone(some: pa.Table, tz: str, number: str) -> Windows:
    who, start = (some.column(name).to_numpy().astype(np.intp) for name in (number, "win"))
    values = (np.asarray(some.column(name).to_numpy(), dtype=np.float64) for name in (
        "sold", "stock_s", "seen_s", "open_s"))
    return to_windows(Flow(who, start, *values), tz, WINDOW_S)
