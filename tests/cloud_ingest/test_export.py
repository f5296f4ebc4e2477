"""The ways out that are files and messages: an export folder, retained MQTT, and the catalogue beside them."""

from __future__ import annotations

import csv
import io
import json
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import paho.mqtt.client as mqtt
import pyarrow.parquet as pq
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from cloud_ingest.__main__ import app
from cloud_ingest.catalogue import is_gtin
from cloud_ingest.export import ROWS
from cloud_ingest.feed import Query, read_feed
from cloud_ingest.release import folder_of, release
from cloud_ingest.store.protocol import Item
from edge.errors import ConfigError
from tests.cloud_ingest.devices import Listening
from tests.cloud_ingest.town import DAY, MIDNIGHT, REGION, Town, quarters

COLA = "4000417025005"
AT = MIDNIGHT + 8 * 3600
run = CliRunner().invoke


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path / "cloud.db", quarters(2, [6, 7]))
    made.send((f"s{shop}", COLA, AT + day * DAY, {"sold": 2.0, "in_stock": 900.0, "observed": 900.0})
              for shop in range(13) for day in (0, 1))
    release(made.path, MIDNIGHT + 3 * DAY)
    yield made
    made.store.close()


def exported(town: Town, folder: Path, *options: str) -> dict[str, int]:
    result = run(app, ["feed", "export", "--db", str(town.path), "--out", str(folder), "--json", *options])
    assert result.exception is None, result.exception
    return dict(json.loads(result.stdout))


def test_the_folder_reads_as_one_table(town: Town, tmp_path: Path) -> None:
    done = exported(town, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / ROWS)  # as pandas.read_parquet does
    assert (done["days"], done["rows"]) == (2, table.num_rows)
    with duckdb.connect() as duck:
        found = duck.execute("SELECT date, resolution, sum(sold) FROM read_parquet(?, hive_partitioning = true) "
                             "WHERE \"window\" = '1d' AND resolution IN (5, 7) GROUP BY ALL ORDER BY ALL",
                             [f"{tmp_path}/out/feed/**/*.parquet"]).fetchall()
    assert [(str(date), level, sold) for date, level, sold in found] == [
        (day, level, 26.0) for day in ("2026-03-02", "2026-03-03") for level in (5, 7)]
    assert set(table.column("window").to_pylist()) == {"15m", "1h", "1d"}
    assert "| sold | Units" in (tmp_path / "out" / "README.md").read_text()


def test_only_days_that_changed_are_written_again(town: Town, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported(town, out, "--window", "1d")
    assert exported(town, out, "--window", "1d")["days"] == 0
    files = {file: file.stat().st_mtime_ns for file in out.rglob("rows.parquet")}
    town.send((f"s{shop}", COLA, AT + 900, {"sold": 1.0}) for shop in range(6))
    release(town.path, MIDNIGHT + 3 * DAY)
    assert exported(town, out, "--window", "1d")["days"] == 1
    changed = {file.parent.name for file, then in files.items() if file.stat().st_mtime_ns != then}
    assert changed == {"date=2026-03-02"}


def test_a_days_file_keeps_the_estimates_of_its_time_and_the_readme_says_so(tmp_path: Path) -> None:
    town = Town(tmp_path / "cloud.db", quarters(1, [6]))
    town.send((f"s{shop}", COLA, AT + day * DAY + 900 * i, {"sold": 2.0, "in_stock": 450.0, "observed": 900.0})
              for shop in range(6) for day in (0, 1) for i in range(20))
    release(town.path, MIDNIGHT + 3 * DAY)
    town.store.close()
    out, asked = tmp_path / "out", ("--window", "1d", "--resolution", "5")

    def ends() -> list[float]:
        return sorted(pq.read_table(out / ROWS).column("demand_high").to_pylist())

    def over_http() -> list[float]:
        return sorted(row.demand_high or 0.0 for row in read_feed(Query(town.path, resolution=5, window_s=DAY)))

    exported(town, out, *asked)
    assert ends() == over_http()
    state = folder_of(town.path) / "state.json"
    learned = json.loads(state.read_text())
    state.write_text(json.dumps({**learned, "whole": learned["whole"] + 5}))
    assert exported(town, out, *asked)["days"] == 0
    assert ends() != over_http()
    told = (out / "README.md").read_text()
    assert "keeps the estimates" in told
    (out / ROWS / ".exported.json").unlink()  # as the README says
    assert ".exported.json" in told
    assert exported(town, out, *asked)["days"] == 2
    assert ends() == over_http()


def test_an_export_on_a_schedule_publishes_by_itself_until_it_is_stopped(town: Town, tmp_path: Path) -> None:
    town.send((f"s{shop}", COLA, AT + 2 * DAY, {"sold": 1.0}) for shop in range(13))
    command = [sys.executable, "-m", "cloud_ingest", "feed", "export", "--db", str(town.path), "--out",
               str(tmp_path / "out"), "--window", "1d", "--resolution", "5", "--every", "1d"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "3 days had changed: 3 rows in 3 files\n"
        process.terminate()
        assert process.wait(20) == 0


def test_a_place_that_cannot_be_written_is_told(town: Town, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(app, ["feed", "export", "--db", str(town.path), "--out", str(tmp_path / "file")])
    assert isinstance(result.exception, ConfigError)
    assert "name a writable folder" in str(result.exception)
    other = Town(tmp_path / "other.db", quarters(1, [6]))
    folder_of(other.path).touch()
    result = run(app, ["feed", "publish", "--db", str(other.path)])
    other.store.close()
    assert isinstance(result.exception, ConfigError)
    assert "cannot be written: File exists" in str(result.exception)


@pytest.mark.parametrize("every", ["soon", "0m"])
def test_a_wrong_schedule_is_told_before_anything_is_done(town: Town, tmp_path: Path, every: str) -> None:
    result = run(app, ["feed", "export", "--db", str(town.path), "--out", str(tmp_path / "out"), "--every", every])
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "out").exists()


def test_a_sku_that_got_another_name_is_written_again_under_it(town: Town, tmp_path: Path) -> None:
    asked = ("--window", "1d", "--resolution", "5")
    exported(town, tmp_path / "out", *asked)
    town.store.put_items([Item("new-cola", "Cola", "drinks", replaces=(COLA,))])
    assert exported(town, tmp_path / "out", *asked)["days"] == 2
    table = pq.read_table(tmp_path / "out" / ROWS)  # as pandas.read_parquet does
    assert set(table.column("sku").to_pylist()) == {"new-cola"}


def test_an_export_that_was_killed_is_done_again(town: Town, tmp_path: Path) -> None:
    """Killed with half a file on the disk: readers see whole files only, and the next run makes the rest."""
    at = tmp_path / "out" / ROWS / "window=1d" / "resolution=5" / "date=2026-03-03"
    code = ("import os, signal, sys; from cloud_ingest import export, __main__ as main\n"
            "def half(target, write):\n"
            "    if 'date=2026-03-03' in str(target):\n"
            "        target.with_name(f'.{target.name}.new').write_bytes(b'PAR1')\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    real(target, write)\n"
            "real, export.put = export.put, half\n"
            "main.app(sys.argv[1:])\n")
    asked = ["--window", "1d", "--resolution", "5"]
    done = subprocess.run([sys.executable, "-c", code, "feed", "export", "--db", str(town.path), "--out",
                           str(tmp_path / "out"), *asked], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [file.name for file in at.iterdir()] == [".rows.parquet.new"]
    assert exported(town, tmp_path / "out", *asked)["days"] == 1
    assert [file.name for file in at.iterdir()] == ["rows.parquet"]
    table = pq.read_table(tmp_path / "out" / ROWS)  # as pandas.read_parquet does
    assert table.num_rows == 2


def test_a_folder_holds_one_scope(town: Town, tmp_path: Path) -> None:
    exported(town, tmp_path / "out")
    result = run(app, ["feed", "export", "--db", str(town.path), "--out", str(tmp_path / "out"), "--scope", "operator"])
    assert isinstance(result.exception, ConfigError)
    assert "a folder of its own" in str(result.exception)
    assert exported(town, tmp_path / "own", "--scope", "operator", "--resolution", "9", "--window", "15m")["rows"] == 4
    result = run(app, ["feed", "export", "--db", str(town.path), "--out", str(tmp_path / "x"), "--window", "7h"])
    assert "does not divide a day" in str(result.exception)


def test_each_cell_has_its_newest_window_as_a_retained_message(town: Town, broker: Listening) -> None:
    at = f"127.0.0.1:{broker.port}"
    told = run(app, ["feed", "mqtt", "--db", str(town.path), "--broker", at, "--resolution", "5"])
    assert told.stdout == "1 cells under cg/v1/feed/1d; 0 cleared\n", told.exception
    assert set(retained(broker)) == {f"cg/v1/feed/1d/{REGION}"}
    run(app, ["feed", "mqtt", "--db", str(town.path), "--broker", at, "--resolution", "7"])
    found = retained(broker)
    assert len(found) == 2
    assert f"cg/v1/feed/1d/{REGION}" not in found
    (row,), (other,) = (json.loads(payload) for payload in found.values())
    assert {row["sold"], other["sold"]} == {12.0, 14.0}
    assert {row["start"], other["start"]} == {MIDNIGHT + DAY}
    nobody = run(app, ["feed", "mqtt", "--db", str(town.path), "--broker", "127.0.0.1:1"])
    assert "start the broker" in str(nobody.exception)


def retained(broker: Listening) -> dict[str, bytes]:
    """The retained messages below the feed, told apart from what comes after by a message of our own."""
    client, found, messages = mqtt.Client(CallbackAPIVersion.VERSION2), {}, queue.SimpleQueue[mqtt.MQTTMessage]()
    client.on_message = lambda _client, _data, message: messages.put(message)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe([("cg/v1/feed/#", 1), ("end", 1)])
    client.publish("end", b"", 1)
    while (message := messages.get(timeout=20)).topic != "end":
        found[message.topic] = bytes(message.payload)
    client.disconnect()
    client.loop_stop()
    return found


def test_the_catalogue_comes_and_goes_as_csv(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "skus.csv"
    file.write_text("sku,name,category,amount,unit,launched,most_celsius,replaces\n"
                    f"{COLA},Cola 0.5 l,drinks,500,ml,2026-03-01,,old-cola older-cola\nmilk,,dairy,,,,8,\n")
    assert run(app, ["catalogue", "load", str(file), "--db", str(town.path)]).stdout == "2 SKUs are in the catalogue\n"
    listed = list(csv.reader(io.StringIO(run(app, ["catalogue", "list", "--db", str(town.path)]).stdout)))
    assert listed[1] == [COLA, "Cola 0.5 l", "drinks", "500", "ml", "1772323200", ""]
    delivered = tmp_path / "delivered.csv"
    delivered.write_text("store,sku,best_before,received,units\ns1,milk,2026-03-09,2026-03-01T06:30,24\n")
    assert run(app, ["catalogue", "deliveries", str(delivered), "--db", str(town.path)]).exit_code == 0


@pytest.mark.parametrize(("text", "told"), [
    ("name\nx\n", "line 1: has no column sku"), ("sku,price\nx,1\n", "unknown column price"),
    ("sku,unit\nx,litre\n", "line 2: unit 'litre' is none of g, ml, piece"), ("sku,amount\nx,many\n", "is no number"),
    ("sku,launched\nx,soon\n", "is no date"), ("sku\n4000417025006\n", "last digit is wrong"),
    ("sku\na b\n", "is no SKU"), ("sku,replaces\na,a\n", "replaces itself"), ("", "line 1: has no column sku"),
])
def test_a_fault_in_a_catalogue_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "skus.csv").write_text(text)
    result = run(app, ["catalogue", "load", str(tmp_path / "skus.csv"), "--db", str(tmp_path / "cloud.db")])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)
    assert not (tmp_path / "cloud.db").exists()


def test_gtins_are_told_by_their_last_digit() -> None:
    told = [is_gtin(sku) for sku in ("4006381333931", "96385074", "4006381333932", "milk")]
    assert told == [True, True, False, False]
