"""Who may ask over HTTP: tokens for programs, and the short sessions that a browser gets for one.

    token    cgt_<id: 8 hex>_<secret: 40 hex>   `id` finds its row and may stand in logs, `secret` is 160 random bits

The database keeps the SHA-256 of a token. That is right for 160 random bits, which no dictionary holds: a slow hash
makes up for passwords that can be guessed, and would give everybody who sends a wrong one a hold on the processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cloud_ingest.facts import reading
from cloud_ingest.store.versions import connect
from edge.errors import ConfigError, Problem, StoreError

TokenScope = Literal["feed", "operate", "admin"]
SCOPES: tuple[TokenScope, ...] = get_args(TokenScope)
"""Each includes those before it."""
DAY_S = 86_400
SESSION_S = 12 * 3600
SESSIONS = 20
"""Browsers that may be logged in with one token; the oldest makes room."""
REFUSALS = 2000
"""Lines of refusals that are kept; strangers may come from any number of addresses."""
LOOKS_LIKE = re.compile(r"cgt_[0-9a-f]{8}_", re.IGNORECASE)
"""Finds a token, or what is left of one, in any text."""
_TOKEN = re.compile(r"cgt_([0-9a-f]{8})_[0-9a-f]{40}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_COLUMNS = "token.id, token.name, token.scope, token.made, token.ends, token.used, token.revoked"
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).digest()


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; times in Unix seconds."""

    id: str
    name: str
    scope: TokenScope
    made: float
    ends: float
    used: float | None
    revoked: float | None

    def state(self, now: float) -> Literal["valid", "revoked", "expired"]:
        """What it is worth."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if now < self.ends else "expired"

    def includes(self, scope: TokenScope) -> bool:
        """Whether it opens what needs `scope`."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


@dataclass(frozen=True, slots=True)
class Refused:
    """One line of refusals: a token of what, in whose name (`?` unknown), and where from; times in Unix seconds."""

    kind: str
    subject: str
    source: str
    n: int
    first: float
    last: float


def add(db: Path, name: str, scope: TokenScope, days: float, now: float) -> str:
    """Make a token and return it: it can be had now and never again. ConfigError where the name is bad or taken."""
    _check(name)
    key = secrets.token_hex(4)
    token = f"cgt_{key}_{secrets.token_hex(20)}"
    with _writing(db) as source:
        if source.execute("SELECT 1 FROM token WHERE name = ? AND revoked IS NULL", (name,)).fetchone():
            raise ConfigError("token add", (Problem(name, "has a token already", "revoke it first, or take another "
                                                    "name to use both while you change over"),))
        source.execute("INSERT INTO token VALUES (?,?,?,?,?,?,NULL,NULL)",
                       (key, name, scope, _hash(token), now, now + days * DAY_S))
    return token


def revoke(db: Path, name: str, now: float) -> None:
    """End a token and every session that it opened; ConfigError where there is no such token."""
    _check(name)
    with _writing(db) as source:
        found = source.execute("UPDATE token SET revoked = ? WHERE name = ? AND revoked IS NULL RETURNING id",
                               (now, name)).fetchall()
        if not found:
            raise ConfigError("token revoke", (Problem(name, "has no token", "see `cornergrid-cloud token list`"),))
        source.execute("DELETE FROM session WHERE token = ?", found[0])


def listed(db: Path) -> tuple[Token, ...]:
    """All tokens, the revoked ones too, by name and age."""
    with reading(db) as source:
        return tuple(Token(*row) for row in source.execute(f"SELECT {_COLUMNS} FROM token ORDER BY name, made"))  # noqa: S608  # a constant


def refused(db: Path, since: float) -> tuple[Refused, ...]:
    """What was refused since then, the newest first."""
    with reading(db) as source:
        return tuple(Refused(*row) for row in source.execute(
            "SELECT kind, subject, source, n, first_t, last_t FROM http_refusal WHERE last_t >= ? "
            "ORDER BY last_t DESC, n DESC", (since,)))


def locked(db: Path) -> bool:
    """Whether the database ever had a token: from then on nothing is open again."""
    if not db.exists():
        return False
    with reading(db) as source:
        return source.execute("SELECT 1 FROM token LIMIT 1").fetchone() is not None


def usable(db: Path, now: float) -> bool:
    """Whether anybody has a valid token."""
    return db.exists() and any(token.state(now) == "valid" for token in listed(db))


def find(db: Path, token: str) -> Token | None:
    """The token's row, be it valid or not; None where it is none of ours. Compares in constant time."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    with reading(db) as source:
        row = source.execute(f"SELECT hash, {_COLUMNS} FROM token WHERE id = ?", (match[1],)).fetchone()  # noqa: S608  # a constant
    same = hmac.compare_digest(_NOBODY if row is None else row[0], _hash(token))
    return Token(*row[1:]) if row is not None and same else None


def log_in(db: Path, token: Token, now: float) -> tuple[str, float]:
    """A browser's session for a valid token: its secret, and until when it lasts."""
    secret, ends = secrets.token_hex(32), min(now + SESSION_S, token.ends)
    with _writing(db) as source:
        source.execute("DELETE FROM session WHERE ends <= ?", (now,))
        source.execute("DELETE FROM session WHERE token = ?1 AND hash NOT IN (SELECT hash FROM session WHERE token = "
                       "?1 ORDER BY made DESC LIMIT ?2)", (token.id, SESSIONS - 1))
        source.execute("INSERT INTO session VALUES (?,?,?,?)", (_hash(secret), token.id, now, ends))
    return secret, ends


def log_out(db: Path, secret: str) -> None:
    """End a session."""
    with _writing(db) as source:
        source.execute("DELETE FROM session WHERE hash = ?", (_hash(secret),))


def session(db: Path, secret: str, now: float) -> tuple[Token, float] | None:
    """The token of a session that still lasts, and until when it does; None for any other."""
    with reading(db) as source:
        row = source.execute(f"SELECT session.ends, {_COLUMNS} FROM session JOIN token ON token.id = session.token "  # noqa: S608  # a constant
                             "WHERE session.hash = ? AND session.ends > ?", (_hash(secret), now)).fetchone()
    return None if row is None else (Token(*row[1:]), row[0])


def valid(db: Path, key: str, now: float) -> bool:
    """Whether the token of that id is worth something now."""
    with reading(db) as source:
        return source.execute("SELECT 1 FROM token WHERE id = ? AND revoked IS NULL AND ends > ?",
                              (key, now)).fetchone() is not None


def note(db: Path, used: Mapping[str, float], counted: Mapping[tuple[str, str, str], int], now: float) -> None:
    """Note when tokens were last used, by id, and how often what was refused, by kind, subject and source."""
    with _writing(db) as source:
        source.executemany("UPDATE token SET used = ? WHERE id = ?", [(t, key) for key, t in used.items()])
        source.executemany(
            "INSERT INTO http_refusal VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET n = n + excluded.n, "
            "last_t = excluded.last_t", [(*what, n, now, now) for what, n in counted.items()])
        source.execute("DELETE FROM http_refusal WHERE (kind, subject, source) IN (SELECT kind, subject, source "
                       "FROM http_refusal ORDER BY last_t DESC LIMIT -1 OFFSET ?)", (REFUSALS,))


@contextlib.contextmanager
def _writing(db: Path) -> Iterator[sqlite3.Connection]:
    """The database, in a transaction of its own that leaves the feed's revision as it is."""
    try:
        with contextlib.closing(connect(db)) as source:
            source.execute("BEGIN IMMEDIATE")
            yield source
            source.execute("COMMIT")
    except (OSError, sqlite3.Error) as error:
        raise StoreError(str(db), f"cannot be written: {error}", "name the file of `cornergrid-cloud run --db`, on a "
                         "writable disk") from error


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _check(name: str) -> None:
    if LOOKS_LIKE.search(name):
        raise ConfigError("token", (Problem("NAME", "is itself a token, which now stands in this shell's history",
                                            "revoke that token by its name, which `cornergrid-cloud token list` "
                                            "shows"),))
    if not _NAME.fullmatch(name):
        raise ConfigError("token", (Problem(name, "is no name", "lower-case letters, digits and -, 63 at most, like "
                                                                "planning-team"),))
