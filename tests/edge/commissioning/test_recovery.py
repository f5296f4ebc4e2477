"""What was learned outlives a torn file: the last good state comes back, and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.documents import Documents
from edge.errors import StoreError


def kept_twice(folder: Path) -> None:
    documents = Documents(folder)
    documents.keep("calibrations", "scale-1", {"zero_kg": "0.001"})
    documents.keep("calibrations", "scale-1", {"zero_kg": "0.002"})


def test_a_document_is_kept_by_its_name_in_place_of_the_earlier_one(tmp_path: Path) -> None:
    kept_twice(tmp_path)
    documents = Documents(tmp_path)
    assert documents.kept("calibrations", "scale-1") == {"name": "scale-1", "zero_kg": "0.002"}
    assert documents.kept("calibrations", "scale-2") is None
    assert documents.recovered == ""


@pytest.mark.parametrize("torn", [b"", b'{"calibrations": {"1": {"na', b"\x00" * 400, b"null", b'["no", "tables"]'])
def test_a_torn_file_gives_way_to_the_last_good_state_and_it_is_said(tmp_path: Path, torn: bytes) -> None:
    kept_twice(tmp_path)
    (tmp_path / "documents.json").write_bytes(torn)
    documents = Documents(tmp_path)
    assert documents.kept("calibrations", "scale-1") == {"name": "scale-1", "zero_kg": "0.001"}
    assert "documents.json is not JSON" in documents.recovered
    assert (tmp_path / "documents.damaged.json").read_bytes() == torn
    after = Documents(tmp_path)
    assert after.kept("calibrations", "scale-1") == {"name": "scale-1", "zero_kg": "0.001"}
    assert after.recovered == ""


def test_a_file_that_is_gone_gives_way_too(tmp_path: Path) -> None:
    kept_twice(tmp_path)
    (tmp_path / "documents.json").unlink()
    documents = Documents(tmp_path)
    assert documents.kept("calibrations", "scale-1") is not None
    assert "is gone" in documents.recovered


def test_where_both_are_torn_the_file_is_named_and_left_alone(tmp_path: Path) -> None:
    kept_twice(tmp_path)
    for name in ("documents.json", "documents.backup.json"):
        (tmp_path / name).write_bytes(b"{")
    with pytest.raises(StoreError, match=r"documents\.json"):
        Documents(tmp_path).kept("calibrations", "scale-1")
    assert (tmp_path / "documents.json").read_bytes() == b"{"
