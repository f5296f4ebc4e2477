"""What was not taken: counted by device and kind, and kept for a person to look at, each payload once, the newest of
many. No device takes the place of another's."""

from __future__ import annotations

import hashlib
import re
import sqlite3

from cloud_ingest.store.protocol import Refusal, Rejected

KEPT_PAYLOAD = 4096
KEPT_REFUSED = 65_536
"""Bytes of a payload that was refused by name: its device deletes it, so this is the last copy."""
KEPT = 10_000
KEPT_OF_ONE = 1000
KEPT_BYTES_OF_ONE = 8_000_000
KINDS_KEPT = 20_000
DETAIL = 300
_KIND = re.compile(r"(?:records? [0-9.]+: )?([a-z_]{1,40})(?::|$)")


def quarantine(db: sqlite3.Connection, rejected: Rejected, now: float, key: str = "") -> None:
    """Count a rejected payload and keep it once; its repeats only count. `tidy` makes room in the end."""
    digest = hashlib.sha256(b"\0".join(part.encode() for part in (rejected.topic, rejected.reason, key))
                            + b"\0" + rejected.payload).hexdigest()
    kept = rejected.payload[:KEPT_REFUSED if rejected.claim else KEPT_PAYLOAD]
    db.execute("INSERT INTO quarantine (hash, device, topic, reason, payload, count, first_t, last_t) "
               "VALUES (?,?,?,?,?,1,?,?) ON CONFLICT (hash) DO UPDATE SET count = count + 1, last_t = excluded.last_t",
               (digest, rejected.device, rejected.topic, rejected.reason, kept, now, now))
    count(db, Refusal(rejected.device, kind_of(rejected.reason), 1, rejected.reason), now)


def kind_of(reason: str) -> str:
    """The token that a reason begins with, behind the record that it is about."""
    match = _KIND.match(reason)
    return match[1] if match else "other"


def count(db: sqlite3.Connection, refusal: Refusal, now: float) -> None:
    """Add to what was refused of a device."""
    db.execute("INSERT INTO ingest_refusal (device, kind, n, first_t, last_t, detail) VALUES (?,?,?,?,?,?) "
               "ON CONFLICT (device, kind) DO UPDATE SET n = n + excluded.n, last_t = excluded.last_t, "
               "detail = excluded.detail",
               (refusal.device, refusal.kind, refusal.n, now, now, refusal.detail[:DETAIL]))


def newest(db: sqlite3.Connection) -> int:
    """The id of the newest that is kept, 0 where nothing is."""
    return int(db.execute("SELECT coalesce(max(id), 0) FROM quarantine").fetchone()[0])


def tidy(db: sqlite3.Connection, before: int) -> None:
    """Make room for what came after the id `before`: by the oldest of its devices, then by the oldest of all."""
    devices = db.execute("SELECT DISTINCT device FROM quarantine WHERE id > ?", (before,)).fetchall()
    for device in devices:
        db.execute("DELETE FROM quarantine WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER w AS place, "
                   "sum(length(payload)) OVER w AS bytes FROM quarantine WHERE device = ? "
                   "WINDOW w AS (ORDER BY id DESC)) WHERE place > ? OR bytes > ?)",
                   (*device, KEPT_OF_ONE, KEPT_BYTES_OF_ONE))
    if devices:
        db.execute("DELETE FROM quarantine WHERE id <= (SELECT id FROM quarantine ORDER BY id DESC LIMIT 1 OFFSET ?)",
                   (KEPT,))
        db.execute("DELETE FROM ingest_refusal WHERE last_t < (SELECT last_t FROM ingest_refusal "
                   "ORDER BY last_t DESC LIMIT 1 OFFSET ?)", (KINDS_KEPT,))
