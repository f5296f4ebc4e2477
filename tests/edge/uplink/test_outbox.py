"""The outbox keeps what it said it kept."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import StoreError
from edge.uplink.kept import Slice
from edge.uplink.outbox import Outbox
from edge.uplink.salvage import open_outbox
from edge.wire import Fact, encode_record

FACT = Fact("scale-1/weight", 1.8e9, "kg", 1.234)
ALL = 10**9


def places(found: Slice | None) -> list[int]:
    """The places of a slice's records."""
    assert found is not None
    gone = {place for first, last in found.gaps for place in range(first, last + 1)}
    return [place for place in range(found.first, found.last + 1) if place not in gone]


def test_put_peek_drop_in_order(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    assert outbox.put([FACT, FACT]) == 2
    assert outbox.put([FACT]) == 3
    found = outbox.peek(1, 10, ALL)
    assert found is not None
    assert (found.first, found.last, found.bodies) == (2, 3, (encode_record(FACT),) * 2)
    assert outbox.drop(outbox.stream, 2) == 2
    assert (outbox.held().lo, outbox.held().hi) == (3, 3)
    outbox.close()


def test_a_start_is_a_stream_so_that_no_sequence_is_used_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.put([FACT] * 5)
    outbox.drop(outbox.stream, 5)
    assert (outbox.held().records, outbox.held().lo) == (0, 6)
    stream, boot = outbox.stream, outbox.boot
    outbox.close()
    again = Outbox(tmp_path / "outbox.db")
    again.put([FACT])
    assert again.stream != stream
    assert again.boot == boot + 1
    again.close()


def test_a_wiped_disk_is_another_stream(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "a.db")
    second = Outbox(tmp_path / "b.db")
    assert first.stream != second.stream
    first.close()
    second.close()


def test_facts_and_state_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.put([FACT], b"one")
    with pytest.raises(AttributeError):
        outbox.put([FACT, object()], b"two")  # type: ignore[list-item]  # the fault under test
    assert (outbox.snapshot(), outbox.held().hi) == (b"one", 1)
    assert outbox.put([FACT]) == 2
    outbox.close()


def test_an_unreadable_file_is_set_aside_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database at all" * 100)
    outbox = open_outbox(path)
    assert outbox.put([FACT]) == 1
    outbox.close()
    assert [file.read_bytes()[:5] for file in tmp_path.glob("*.unreadable-*")] == [b"not a"]


def test_a_file_damaged_inside_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    outbox.put([FACT] * 2000)
    outbox.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 12_288))
    again = open_outbox(path)
    found = again.held().records
    assert again.disk.tally.lost == 2000 - (found - 1)
    again.close()
    assert (tmp_path / "outbox.db.unreadable-1").stat().st_size > 12_288


def test_a_record_that_cannot_be_read_is_a_loss_that_is_told_and_holds_up_no_other(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    outbox.put([FACT] * 3)
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE record SET body = x'00' WHERE seq = 2")
    db.close()
    found = outbox.peek(0, 10, 3)
    assert places(found) == [1, 3]
    assert found is not None
    assert found.gaps == ((2, 2),)
    told = outbox.peek(3, 10, ALL)
    assert told is not None
    assert b"damaged" in told.bodies[0]
    assert outbox.disk.tally.lost == 1
    outbox.close()


def test_a_locked_disk_is_an_error_with_a_fix_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    outbox.disk.db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        outbox.put([FACT])
    other.execute("ROLLBACK")
    other.close()
    assert outbox.put([FACT]) == 1
    outbox.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="not writable"):
        Outbox(tmp_path / "file" / "outbox.db")


WRITER = """
import sys
from pathlib import Path
from edge.uplink.kept import Slice
from edge.uplink.outbox import Outbox
from edge.uplink.salvage import open_outbox
from edge.wire import Fact
outbox = Outbox(Path(sys.argv[1]))
while True:
    print(outbox.put([Fact("scale-1/weight", 1.8e9, "kg", 1.0)] * 3, b"state"), flush=True)
"""


def test_what_was_put_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(50)]
        os.kill(writer.pid, signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().split()]
    outbox = Outbox(path)
    held = outbox.held()
    assert held.lo == 1
    assert held.hi >= said[-1]
    assert held.hi % 3 == 0
    assert [row[0] for row in outbox.export()] == list(range(1, held.hi + 1))
    outbox.close()


@given(st.lists(st.one_of(st.tuples(st.just("put"), st.integers(0, 5)), st.tuples(st.just("drop"), st.integers(0, 40))),
                max_size=20))
def test_held_is_always_the_records_between(tmp_path_factory: pytest.TempPathFactory,
                                            steps: list[tuple[str, int]]) -> None:
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "outbox.db")
    lo, hi = 1, 0
    for what, n in steps:
        if what == "put":
            hi += n
            outbox.put([FACT] * n)
        else:
            outbox.drop(outbox.stream, min(n, hi))
            lo = max(lo, min(n, hi) + 1)
        assert (outbox.held().lo, outbox.held().hi) == (lo, hi)
    outbox.close()
