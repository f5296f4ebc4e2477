"""The device's small documents in TinyDB: what was found when it was last checked. Never the stream of readings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tinydb import TinyDB, where
from tinydb.storages import Storage

from edge.errors import StoreError


class SyncedJSONStorage(Storage):
    """A JSON file that is written whole or not at all: a new file, synced, then renamed over the old one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, dict[str, Any]] | None:
        """All tables, or None on a fresh disk; StoreError where the file is not JSON."""
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(str(self._path), f"is not JSON: {error}",
                             "move it away; `cornergrid-edge check` makes a new one") from error

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Replace the file and sync it and its folder."""
        part = self._path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Documents:
    """The documents of one device, in `<data>/documents.json`."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._db = TinyDB(data / "documents.json", storage=SyncedJSONStorage)

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
