"""A device that turned bad hurts only itself: each attack on the ingest is refused, counted and seen, by a real
mosquitto with the generated configuration and a real ingest process."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cloud_ingest.screen import changes, render
from tests.cloud_ingest.devices import opened
from tests.cloud_ingest.pki.world import HOST, Client, until, world_in
from tests.e2e.attacks_ingest import ATTACKS, LOUD, STRANGER, THIEF, VICTIM, Attack, Scene
from tests.e2e.tables import table_of

NOTHING = "nothing changes"
MORE_MEMORY = 96 * 1024
"""KiB that the ingest may take at its peak beyond what it had before: 200 messages of 256 KiB alone are 50 MiB."""


@pytest.fixture(scope="module")
def scene(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One closed broker and one ingest for the whole table."""
    path = tmp_path_factory.mktemp("hostile")
    db = path / "cloud.db"
    opened(db, [VICTIM, THIEF, *LOUD]).close()
    with world_in(path, mosquitto) as world:
        for device in (VICTIM, THIEF, STRANGER, *LOUD):
            world.given(device)
        command = [sys.executable, "-m", "cloud_ingest", "run", "--db", str(db), "--broker",
                   f"{HOST}:{world.service_port}", "--tls", str(world.broker), "--http", ""]
        with (path / "ingest.log").open("wb") as log, subprocess.Popen(command, stderr=log) as ingest, \
                Client(world, world.store(VICTIM).current, VICTIM) as victim, \
                Client(world, world.store(THIEF).current, THIEF) as thief:
            until(lambda: '"subscribed"' in (path / "ingest.log").read_text(), "the ingest listens", 30)
            for device, client in ((VICTIM, victim), (THIEF, thief)):
                client.subscribe(f"cg/v1/{device}/down/committed")
            scene = Scene(world, db, ingest.pid, victim, thief)
            scene.settle()
            yield scene
            for client in scene.others.values():
                client.__exit__()
            ingest.terminate()


@pytest.fixture(scope="module")
def before(scene: Scene) -> int:
    """KiB of the ingest before the first attack."""
    return peak(scene.pid)


def peak(pid: int) -> int:
    """The most KiB that a process ever had (proc(5), VmHWM)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, "it has ended"
    return int(found[1])


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.name)
def test_the_attack_is_refused_and_the_operator_sees_it(row: Attack, scene: Scene, before: int) -> None:
    told = {(each.device, each.kind): each.n for each in scene.fleet().refusals}
    row.run(scene)
    if row.seen:
        until(lambda: scene.count(row.who, row.seen) > told.get((row.who, row.seen), 0), f"{row.seen} is seen")
    else:
        assert {(each.device, each.kind): each.n for each in scene.fleet().refusals} == told
    scene.settle()
    assert scene.rows("SELECT sold FROM flow WHERE store = ?", f"store-of-{VICTIM}") == [(scene.sold,)]
    assert scene.rows("SELECT mark, refused, missing FROM stream WHERE device = ?", VICTIM) == [(scene.sold, 0, 0)]
    assert not any(each.device == VICTIM for each in scene.fleet().refusals)
    assert peak(scene.pid) - before < MORE_MEMORY, "the ingest grew, or has ended"


def test_the_log_names_each_kind_of_refusal_with_what_to_do(scene: Scene) -> None:
    kinds = {(row.who, row.seen) for row in ATTACKS if row.seen}
    log = scene.world.path / "ingest.log"

    def events() -> dict[tuple[str, str], str]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return {(line["device"], line["kind"]): line["fix"] for line in lines if line["event"] == "refused"}

    until(lambda: kinds <= events().keys(), f"the log names all of {kinds}")
    assert all(events()[each] for each in kinds)
    lines = log.read_text().splitlines()
    assert len(lines) < 3 * len(events()) + 20, "a flood of refusals is a flood of lines"
    assert "Traceback" not in "\n".join(lines)


def test_the_screen_shows_all_of_it_and_obeys_nobody(scene: Scene, before: int) -> None:
    print(f"{len(ATTACKS)} attacks; the ingest grew by {(peak(scene.pid) - before) / 1024:.0f} MiB at most")
    fleet, shown = scene.fleet(), io.StringIO()
    Console(file=shown, width=200).print(render(fleet))
    for text in (shown.getvalue(), "\n".join(changes(None, fleet))):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
        assert all(row.seen in text for row in ATTACKS)
    listed = subprocess.run([sys.executable, "-m", "cloud_ingest", "quarantine", "--db", str(scene.db), "--device",
                             THIEF, "--json"], capture_output=True, text=True, check=True, timeout=50)
    assert {each["device"] for each in json.loads(listed.stdout)} == {THIEF}


def test_the_table_in_the_brokers_readme_is_this_one() -> None:
    assert len({row.name for row in ATTACKS}) == len(ATTACKS)
    assert table_of("The attacks on the ingest") == [(row.name, row.seen or NOTHING) for row in ATTACKS]
