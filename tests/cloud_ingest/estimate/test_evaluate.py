"""`demand evaluate`: what is hidden stays hidden, the figures are what they say, bad files are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from cloud_ingest import demand_commands
from cloud_ingest.estimate import evaluate as judge
from cloud_ingest.estimate import tune
from cloud_ingest.estimate.baselines import usual_day
from cloud_ingest.estimate.freshretail import OPENS, Panel, read_panel
from cloud_ingest.estimate.hiding import FIRST, HIDING, LAST
from cloud_ingest.estimate.parameters import Parameters, read_parameters, to_toml
from cloud_ingest.estimate.tune import choosing
from edge.errors import ConfigError
from tests.cloud_ingest.estimate.shops import SHIPPED, write_panel

SHARED = Path(__file__).parents[4] / "shared" / "demand" / "freshretailnet_half.parquet"


def quiet(_: str) -> None:
    """No progress."""


def ask(*arguments: object) -> Result:
    """The command, as typed."""
    app = typer.Typer()
    demand_commands.register(app)
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, ["demand", *map(str, arguments)])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panel(tmp_path_factory.mktemp("panel") / "shops.parquet")


@pytest.fixture(scope="module")
def panel(file: Path) -> Panel:
    return read_panel(file)


def test_the_command_prints_one_object_for_scripts(file: Path) -> None:
    result = ask("evaluate", file, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    for row in ("random", "driven", "cells"):
        assert {"bias", "wape", "coverage80"} <= set(found[row])
        assert abs(found[row]["bias"]) < 10
        assert 60 < found[row]["coverage80"] <= 100
    assert found["driven"]["n"] < found["random"]["n"]
    assert ask("evaluate", file, "--json").stdout == result.stdout


def test_the_command_prints_the_simple_methods_beside_it_for_people(file: Path) -> None:
    result = ask("evaluate", file)
    assert result.exit_code == 0, result.output
    assert "observed sales" in result.stdout
    assert "additive ratio" in result.stdout
    assert "Cornergrid" in result.stdout


@pytest.mark.parametrize("kind", HIDING)
def test_the_estimate_cannot_see_what_was_hidden(panel: Panel, kind: str) -> None:
    usual = usual_day(panel, judge.HISTORY_DAYS)
    hidden = HIDING[kind](panel, judge.HISTORY_DAYS, usual.day, np.random.default_rng(3))
    model = judge.learn_history(panel, SHIPPED, quiet)
    honest = judge.follow(panel, hidden, model, quiet)
    sold = panel.sold.copy()
    sold[:, judge.HISTORY_DAYS:] = 999
    other = Panel(panel.series, panel.store, panel.first_weekday, sold, panel.in_stock, panel.present)
    again = judge.follow(other, hidden, judge.learn_history(other, SHIPPED, quiet), quiet)
    assert (again.expected == honest.expected).all()
    assert (again.days.sold == honest.days.sold).all()


def test_a_judged_day_is_not_told_by_the_days_after_it(panel: Panel) -> None:
    hidden = HIDING["random"](panel, judge.HISTORY_DAYS, np.ones(0), np.random.default_rng(3))
    model = judge.learn_history(panel, SHIPPED, quiet)
    honest = judge.follow(panel, hidden, model, quiet)
    hidden.sold[:, 10:] = 50
    again = judge.follow(panel, hidden, model, quiet)
    early = hidden.judged[:, :10].sum()
    assert (again.expected[:early] == honest.expected[:early]).all()
    assert (again.expected[early:] != honest.expected[early:]).any()


def test_random_stock_outs_start_between_nine_and_eight_and_last(panel: Panel) -> None:
    hidden = HIDING["random"](panel, 60, np.ones(0), np.random.default_rng(1))
    seen = hidden.in_stock[hidden.judged]
    start = seen.sum(1) + OPENS
    assert (start.min(), start.max()) == (FIRST, LAST)
    assert (np.diff(seen.astype(int), axis=1) <= 0).all()
    assert (hidden.sold[hidden.judged][~seen] == 0).all()
    assert hidden.censored.sum() == hidden.judged.sum()


def test_driven_stock_outs_sell_their_stock_and_no_more(panel: Panel) -> None:
    usual = usual_day(panel, 60)
    hidden = HIDING["driven"](panel, 60, usual.day, np.random.default_rng(1))
    left = hidden.sold.sum(-1)
    ran_out, whole = hidden.censored, hidden.judged & ~hidden.censored
    assert 0.2 < ran_out.sum() / hidden.judged.sum() < 0.8
    assert (left[whole] == hidden.true[whole]).all()
    assert (left[ran_out] <= hidden.true[ran_out]).all()
    stock = left[ran_out] / usual.day[np.nonzero(ran_out)[0]]
    assert 0.2 < stock.min() < stock.max() < 1.4


def test_real_stock_outs_are_never_truth(panel: Panel) -> None:
    hidden = HIDING["random"](panel, 60, np.ones(0), np.random.default_rng(1))
    real = ~panel.in_stock[:, 60:].all(-1)
    assert not (hidden.judged & real).any()
    assert (hidden.in_stock[real] == panel.in_stock[:, 60:][real]).all()


def test_scores_are_bias_and_weighted_error_in_percent() -> None:
    found = judge.score(np.array([12.0, 8.0]), np.array([10.0, 10.0]), (np.array([9.0, 1.0]), np.array([13.0, 9.0])))
    assert (found.bias, found.wape, found.coverage80, found.n) == (0.0, 20.0, 50.0, 2)
    assert judge.score(np.array([11.0]), np.array([10.0])).bias == pytest.approx(10.0)


def test_cells_need_five_series(panel: Panel) -> None:
    """12 stores in two cities: six at most in a cell, and less on days with stock-outs."""
    found = judge.evaluate(panel, SHIPPED, quiet)
    judged = (panel.present & panel.in_stock.all(-1))[:, 60:]
    cell = panel.series.region * 3 + panel.series.sku
    sizes = np.array([np.bincount(cell[judged[:, day]], minlength=6) for day in range(30)])
    assert found["cells"].n == (sizes >= 5).sum()


def test_half_of_the_shops_choose_and_the_others_judge(panel: Panel) -> None:
    mine = choosing(panel)
    assert set(panel.store[mine]) & set(panel.store[~mine]) == set()
    assert 0 < mine.mean() < 1


def test_a_day_that_is_not_in_the_file_is_no_truth(tmp_path: Path, file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 89), tmp_path / "short.parquet")
    pq.write_table(pa.concat_tables([table.slice(0, 70), table.slice(71)]), tmp_path / "hole.parquet")
    hole = read_panel(tmp_path / "hole.parquet")
    assert not hole.present[0, 70]
    assert hole.present.sum() == table.num_rows - 1
    hidden = HIDING["random"](hole, 60, np.ones(0), np.random.default_rng(1))
    assert not hidden.judged[0, 10]


def _damaged(file: Path, to: Path, how: str) -> Path:
    table = pq.read_table(file)
    if how == "no Parquet":
        to.write_bytes(b"sale,so\n1,2\n")
    elif how == "twice":
        pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), to)
    elif how == "23 hours":
        short = pa.array([row[:23] for row in table["sale"].to_pylist()], table["sale"].type)
        pq.write_table(table.set_column(table.column_names.index("sale"), "sale", short), to)
    elif how == "text":
        pq.write_table(table.set_column(1, "store", table["store"].cast(pa.string())), to)
    elif how == "no rows":
        pq.write_table(table.slice(0, 0), to)
    elif how == "60 days":
        write_panel(to, days=60)
    return to


@pytest.mark.parametrize(("how", "told"), [
    ("no Parquet", "cannot be read as Parquet"), ("missing", "cannot be read as Parquet"), ("twice", "is there twice"),
    ("23 hours", "24 values"), ("text", "store: holds string"), ("no rows", "there are none"),
    ("60 days", "60 days are there"),
])
def test_a_file_that_cannot_be_judged_is_told_with_what_is_wrong(file: Path, tmp_path: Path, how: str,
                                                                 told: str) -> None:
    result = ask("evaluate", _damaged(file, tmp_path / "x.parquet", how), "--json")
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cat3") as caught:
        read_panel(write_panel(tmp_path / "x.parquet", days=2, columns=("cat3", "so")))
    assert [problem.key for problem in caught.value.problems] == ["cat3", "so"]


def test_parameters_survive_their_file_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(to_toml(SHIPPED))
    assert read_parameters(path) == SHIPPED
    for text, told in (("noise = 1", "missing required field"), (to_toml(SHIPPED) + "nois = 3\n", "unknown field"),
                       (to_toml(SHIPPED).replace("noise = ", "noise = -"), "> 0"), ("=", "p.toml")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=told):
            read_parameters(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_parameters(tmp_path / "none.toml")


def test_every_parameter_says_what_it_means() -> None:
    text = to_toml(SHIPPED)
    assert text.count("\n# ") == len(Parameters.__struct_fields__)


def test_real_shops_are_estimated_better_than_by_the_simple_methods(tmp_path: Path) -> None:
    """A part of FreshRetailNet: bounds are wide, for it has few shops; the whole is in tests/bench."""
    if not SHARED.exists():
        pytest.skip("../shared/demand/freshretailnet_half.parquet is not here")
    part = pq.read_table(SHARED, filters=[("store", "<", 120)])
    pq.write_table(part, tmp_path / "part.parquet")
    panel = read_panel(tmp_path / "part.parquet")
    found, simple = judge.evaluate(panel, SHIPPED, quiet), judge.baselines(panel)
    for kind in HIDING:
        score = found[kind]
        assert score.wape < min(row[kind].wape for row in simple.values() if kind in row)
        assert abs(score.bias) < 4
        assert score.coverage80 is not None
        assert 75 < score.coverage80 < 85


def test_the_fit_writes_a_table_that_can_be_used_and_covers_what_it_promises(file: Path, tmp_path: Path,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "STRUCTURE", {"memory_days": (30, 60)})
    out = tmp_path / "p.toml"
    result = ask("fit", file, "--out", out)
    assert result.exit_code == 0, result.output
    assert "judged on the others" in result.stderr
    found = json.loads(ask("evaluate", file, "--json", "--parameters", out).stdout)
    assert 75 < found["driven"]["coverage80"] < 85
    assert isinstance(ask("fit", file, "--out", tmp_path / "none" / "p.toml").exception, ConfigError)


def test_what_the_judging_shops_really_sold_changes_no_parameter(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "STRUCTURE", {"memory_days": (30, 60)})
    honest = tune.fit(panel, SHIPPED, quiet)

    def tampered(*arguments: Any) -> dict[str, judge.Sheet]:
        found = judge.sheets(*arguments)
        for sheet in found.values():
            theirs = ~choosing(panel)[sheet.days.series]
            assert theirs.any()
            sheet.true[theirs] = 1e6
        return found

    monkeypatch.setattr(tune, "sheets", tampered)
    assert tune.fit(panel, SHIPPED, quiet) == honest
