"""`status` and `buffer` as an installer types them, on sound and damaged outboxes."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from edge import outbox_commands
from edge.agent import hold_alone
from edge.uplink.outbox import Outbox
from edge.wire import Fact

N = 50


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile whose outbox holds `N` readings of two starts."""
    path = tmp_path / "shop.toml"
    path.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path / "data"}"\n')
    for start in range(2):
        outbox = Outbox(tmp_path / "data" / "outbox.db")
        outbox.put([Fact("scale-1/weight", 1.79e9 + start * N + i, "kg", float(i)) for i in range(N // 2)])
        outbox.close()
    return path


def run(*arguments: object) -> Result:
    app = typer.Typer()
    outbox_commands.register(app)
    return CliRunner().invoke(app, [str(each) for each in arguments])


def answer(*arguments: object) -> dict[str, Any]:
    return dict(json.loads(run(*arguments, "--json").stdout))


def damage(profile: Path) -> Path:
    """One record whose bytes are not what was put."""
    outbox = profile.parent / "data" / "outbox.db"
    db = sqlite3.connect(outbox)
    with db:
        db.execute("UPDATE record SET body = x'00' WHERE seq = 7")
    db.close()
    return outbox


def test_status_tells_what_waits_without_an_agent(profile: Path) -> None:
    found = answer("status", profile)
    assert (found["records"], found["running"], found["where"], found["lost"]) == (N, False, "disk", 0)
    assert found["oldest"] == 1.79e9
    shown = run("status", profile)
    assert shown.exit_code == 0
    assert f"{N} records" in shown.stdout


def test_status_sees_that_an_agent_runs(profile: Path) -> None:
    lock = hold_alone(profile.parent / "data")
    assert lock is not None
    assert answer("status", profile)["running"]
    lock.close()
    assert not answer("status", profile)["running"]


def test_inspect_names_each_start_and_its_sequences(profile: Path) -> None:
    streams = answer("buffer", "inspect", profile)["streams"]
    assert [(each["boot"], each["lo"], each["hi"]) for each in streams] == [(1, 1, N // 2), (2, 1, N // 2)]
    assert len({each["st"] for each in streams}) == 2


def test_export_writes_every_record_with_its_name(profile: Path, tmp_path: Path) -> None:
    target = tmp_path / "records.jsonl"
    assert run("buffer", "export", profile, target).exit_code == 0
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [*range(1, N // 2 + 1)] * 2
    assert lines[3]["record"] == {"n": "scale-1/weight", "t": 1.79e9 + 3, "u": "kg", "v": 3.0}


def test_verify_finds_damage_and_repair_saves_the_rest(profile: Path) -> None:
    assert run("buffer", "verify", profile).exit_code == 0
    outbox = damage(profile)
    found = run("buffer", "verify", profile)
    assert found.exit_code == 1
    assert "1 with a wrong one" in found.stdout
    assert answer("buffer", "verify", profile)["bad"] == 1
    repaired = run("buffer", "repair", profile)
    assert repaired.exit_code == 0
    assert outbox.with_name("outbox.db.unreadable-1").exists()
    assert run("buffer", "verify", profile).exit_code == 0
    assert answer("status", profile)["lost"] == 1


def test_repair_leaves_a_running_agent_and_a_sound_file_alone(profile: Path) -> None:
    assert "nothing to repair" in run("buffer", "repair", profile).stdout
    lock = hold_alone(profile.parent / "data")
    assert lock is not None
    assert "running" in str(run("buffer", "repair", profile).exception)
    lock.close()


def test_no_outbox_is_an_error_with_a_fix(tmp_path: Path) -> None:
    profile = tmp_path / "shop.toml"
    profile.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path}"\n')
    assert "is not there" in str(run("status", profile).exception)
