"""Where the ingest keeps what it committed: one protocol, one file for each database, one line here for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cloud_ingest.store.protocol import Store
from cloud_ingest.store.sqlite import SqliteStore

STORES: dict[str, Callable[[Path], Store]] = {"sqlite": SqliteStore}
