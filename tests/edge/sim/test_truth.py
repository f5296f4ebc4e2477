"""The truth: readable while it is being written, and added up as a shopkeeper would."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.sim.story import PutBack, Restocked, Taken
from edge.sim.truth import Total, TruthFile, read_truth, totals, truth_of

SKU = "4006381333931"
STORY = (truth_of(Taken(100, "A1", 2), SKU, 22), truth_of(PutBack(160, "A1", 2), SKU, 24),
         truth_of(Taken(500, "A1", 3), SKU, 21), truth_of(Restocked(900, "A1", 3), SKU, 24))


def test_sold_is_taken_and_not_put_back() -> None:
    assert totals(STORY, 0, 1000) == {SKU: Total(sold=3, put_back=2, restocked=3)}


def test_what_came_back_later_was_not_sold_before() -> None:
    assert totals(STORY, 0, 150)[SKU] == Total()
    assert totals(STORY, 150, 1000)[SKU] == Total(sold=3, put_back=2, restocked=3)


def test_windows_add_up_to_the_whole() -> None:
    whole = totals(STORY, 0, 1000)[SKU]
    parts = [totals(STORY, t, t + 50)[SKU] for t in range(0, 1000, 50)]
    assert sum(part.sold for part in parts) == whole.sold
    assert sum(part.put_back for part in parts) == whole.put_back


def test_the_file_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    truth = TruthFile(path)
    truth.start(50, "A1", SKU, 24)
    truth.moved(Taken(100, "A1", 2), SKU, 22)
    assert [(event.kind, event.level) for event in read_truth(path)] == [("start", 24), ("taken", 22)]
    truth.close()
    with path.open("ab") as file:
        file.write(b'{"t": 1')
    assert len(read_truth(path)) == 2


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_bytes(b"not json\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_truth(path)
