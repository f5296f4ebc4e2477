"""The device's small documents survive a torn write."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.documents import Documents
from edge.errors import StoreError


def test_the_last_check_is_the_newest(tmp_path: Path) -> None:
    documents = Documents(tmp_path)
    assert documents.last_check() is None
    documents.keep_check(2.0, [{"ok": False}])
    documents.keep_check(1.0, [{"ok": True}])
    last = Documents(tmp_path).last_check()
    assert last is not None
    assert (last["at"], last["ok"]) == (2.0, False)


def test_a_half_written_file_never_replaces_the_good_one(tmp_path: Path) -> None:
    Documents(tmp_path).keep_check(1.0, [{"ok": True}])
    (tmp_path / "documents.part").write_text('{"checks": {"1"')
    last = Documents(tmp_path).last_check()
    assert last is not None
    assert last["ok"] is True


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "documents.json").write_text("{")
    with pytest.raises(StoreError, match=r"documents\.json"):
        Documents(tmp_path).last_check()
