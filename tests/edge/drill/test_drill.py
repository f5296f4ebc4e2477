"""The drill on a real disk, with a real worker that is killed; and that it sees what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge import wire
from edge.drill.cases import CASES
from edge.drill.cloud import Ledger
from edge.drill.ground import Counts
from edge.uplink.outbox import Outbox
from edge.wire import Fact

ST = "a" * 32


def drill(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edge", "drill", str(profile), *arguments], check=False, timeout=150,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_every_case_passes_and_the_real_outbox_is_untouched(tmp_path: Path) -> None:
    profile = tmp_path / "shop.toml"
    profile.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path / "data"}"\n')
    outbox = Outbox(tmp_path / "data" / "outbox.db")
    outbox.put([Fact("scale-1/weight", 1.79e9, "kg", 1.0)])
    outbox.close()
    before = outbox.path.read_bytes()
    ran = drill(profile, "--json")
    told = json.loads(ran.stdout)
    assert ran.returncode == 0, told
    assert [each["case"] for each in told["cases"]] == [case.name for case in CASES]
    assert all(each["ok"] and each["put"] > 0 and each["twice"] == 0 for each in told["cases"])
    assert outbox.path.read_bytes() == before
    assert not (tmp_path / "data" / "drill").exists()


def test_an_unknown_case_is_refused_with_the_names(tmp_path: Path) -> None:
    profile = tmp_path / "shop.toml"
    profile.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path}"\n')
    ran = drill(profile, "--only", "earthquake")
    assert ran.returncode == 2
    assert "blackhole" in ran.stderr


@pytest.mark.parametrize(("counts", "exact"), [
    (Counts(10, 10, 0, 0), True), (Counts(10, 9, 0, 0), False), (Counts(10, 9, 1, 0), True),
    (Counts(10, 10, 0, 1), False), (Counts(10, 0, 10, 0), False)])
def test_a_silent_loss_a_repeat_and_a_large_loss_fail(counts: Counts, exact: bool) -> None:
    assert counts.exact(may_lose=5) is exact


def test_the_ledger_marks_only_what_is_whole() -> None:
    ledger = Ledger()
    fact = Fact("drill/number", 1.79e9, "count", 1.0)
    for seq in (1, 3):
        ledger.commit(wire.decode_batch("drill", wire.encode_batch("drill", [fact], st=ST, seq=seq, lo=1, boot=1)))
    assert (ledger.mark[ST], ledger.ahead(ST)) == (1, [(3, 3)])
    ledger.commit(wire.decode_batch("drill", wire.encode_batch("drill", [fact], st=ST, seq=2, lo=1, boot=1)))
    assert (ledger.mark[ST], ledger.ahead(ST), ledger.repeats) == (3, [], 0)
