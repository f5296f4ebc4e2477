"""The device's small documents in TinyDB: what was found when it was last checked. Never the stream of readings.

    documents.json           the documents, written whole or not at all
    documents.backup.json    the state before the last write
    documents.damaged.json   a file that a bad disk spoilt, set aside when the backup took its place
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import structlog
from tinydb import TinyDB, where
from tinydb.storages import Storage

from edge.box.steps import sync
from edge.errors import StoreError

log = structlog.get_logger(__name__)
Tables = dict[str, dict[str, Any]]


class SyncedJSONStorage(Storage):
    """A JSON file that is written whole or not at all: a new file, synced, then renamed over the old one.

    The state before stays as the backup, which takes the place of a file that cannot be read; `recovered` then says
    so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._backup = path.with_suffix(".backup.json")
        self.recovered = ""

    def read(self) -> Tables | None:
        """All tables, or None on a fresh disk; StoreError where neither the file nor its backup is JSON."""
        try:
            return _tables(self._path)
        except FileNotFoundError:
            if not self._backup.exists():
                return None
            wrong = "is gone"
        except ValueError as error:
            wrong = f"is not JSON: {error}"
        return self._recover(wrong)

    def _recover(self, wrong: str) -> Tables:
        try:
            tables = _tables(self._backup)
        except (OSError, ValueError) as error:
            raise StoreError(str(self._path), wrong, "move it away; `cornergrid-edge check` makes a new one") from error
        if self._path.exists():
            os.replace(self._path, self._path.with_suffix(".damaged.json"))
        self._replace(tables)
        self.recovered = f"{self._path.name} {wrong}; the state before the last write was taken"
        log.warning("documents_recovered", file=str(self._path), why=wrong,
                    effect="what was kept last is missing: commission or check again")
        return tables

    def write(self, data: Tables) -> None:
        """Replace the file, keep the one before as the backup, and sync both and their folder."""
        self._replace(data, backup=self._path.exists())

    def _replace(self, data: Tables, *, backup: bool = False) -> None:
        part = self._path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        if backup:
            link = self._path.with_suffix(".backup.part")
            link.unlink(missing_ok=True)
            os.link(self._path, link)
            os.replace(link, self._backup)
        os.replace(part, self._path)
        sync(self._path.parent)


def _tables(path: Path) -> Tables:
    """The tables in a file; ValueError where it holds none."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
        raise ValueError("it holds no tables")
    return found


class Documents:
    """The documents of one device, in `<data>/documents.json`."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._storage = SyncedJSONStorage(data / "documents.json")
        self._db = TinyDB(storage=lambda: self._storage)

    @property
    def recovered(self) -> str:
        """What was wrong with a file in whose place the backup was taken; empty where none was."""
        return self._storage.recovered

    def keep_check(self, at: float, rows: list[dict[str, Any]]) -> None:
        """Keep a check's outcome (`at` in Unix seconds) beside all earlier ones."""
        self._db.table("checks").insert({"at": at, "ok": all(row["ok"] for row in rows), "rows": rows})

    def last_check(self) -> dict[str, Any] | None:
        """The newest check's `at`, `ok` and `rows`, or None where none was made."""
        checks = self._db.table("checks").all()
        return dict(max(checks, key=lambda check: float(check["at"]))) if checks else None

    def keep_baseline(self, camera: str, baseline: dict[str, Any]) -> None:
        """Keep what was found at a camera's commissioning, in place of an earlier one."""
        self._db.table("baselines").upsert({**baseline, "camera": camera}, where("camera") == camera)

    def baseline(self, camera: str) -> dict[str, Any] | None:
        """What was kept at the camera's commissioning, or None where it was not commissioned."""
        found = self._db.table("baselines").search(where("camera") == camera)
        return dict(found[0]) if found else None

    def keep(self, table: str, name: str, document: dict[str, Any]) -> None:
        """Keep a document by its name, such as a scale's calibration, in place of an earlier one."""
        self._db.table(table).upsert({**document, "name": name}, where("name") == name)

    def kept(self, table: str, name: str) -> dict[str, Any] | None:
        """The document of that name, or None."""
        found = self._db.table(table).search(where("name") == name)
        return dict(found[0]) if found else None

    def all_kept(self, table: str) -> list[dict[str, Any]]:
        """Every document of a table."""
        return [dict(each) for each in self._db.table(table).all()]
