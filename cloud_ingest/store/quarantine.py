"""What was not taken, kept for a person to look at: each payload once, the newest of many."""

from __future__ import annotations

import hashlib
import sqlite3

from cloud_ingest.store.protocol import Rejected

KEPT_PAYLOAD = 4096
KEPT_REFUSED = 65_536
"""Bytes of a payload that was refused by name: its device deletes it, so this is the last copy."""
KEPT = 10_000


def quarantine(db: sqlite3.Connection, rejected: Rejected, now: float, key: str = "") -> None:
    """Keep a rejected payload once; its repeats only count. A flood makes room by its oldest."""
    digest = hashlib.sha256(b"\0".join(part.encode() for part in (rejected.topic, rejected.reason, key))
                            + b"\0" + rejected.payload).hexdigest()
    kept = rejected.payload[:KEPT_REFUSED if rejected.claim else KEPT_PAYLOAD]
    db.execute("INSERT INTO quarantine (hash, device, topic, reason, payload, count, first_t, last_t) "
               "VALUES (?,?,?,?,?,1,?,?) ON CONFLICT (hash) DO UPDATE SET count = count + 1, last_t = excluded.last_t",
               (digest, rejected.device, rejected.topic, rejected.reason, kept, now, now))
    db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (KEPT,))
