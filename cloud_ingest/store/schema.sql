-- Version 5. `flow` is made of sums, so a late, repeated or reordered batch ends in the same state.
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES ('version', 5), ('revision', 0), ('identity', random());  -- identity: no other database's

CREATE TABLE store (                       -- the registry: a device's word about its place counts for nothing
    id TEXT PRIMARY KEY, name TEXT NOT NULL, lat REAL NOT NULL, lon REAL NOT NULL, tz TEXT NOT NULL,
    r9 TEXT NOT NULL, r8 TEXT NOT NULL, r7 TEXT NOT NULL, r6 TEXT NOT NULL, r5 TEXT NOT NULL,
    hours TEXT NOT NULL DEFAULT '', removed INTEGER
) STRICT;

CREATE TABLE place (                       -- where a store was from `since` on (Unix seconds); the newest is `store`'s
    store TEXT NOT NULL, since INTEGER NOT NULL, lat REAL NOT NULL, lon REAL NOT NULL, tz TEXT NOT NULL,
    hours TEXT NOT NULL, r9 TEXT NOT NULL, r8 TEXT NOT NULL, r7 TEXT NOT NULL, r6 TEXT NOT NULL, r5 TEXT NOT NULL,
    PRIMARY KEY (store, since)
) STRICT, WITHOUT ROWID;

CREATE TABLE device (                      -- held: the newest state that told its outbox, and what follows from it
    id TEXT PRIMARY KEY, store TEXT NOT NULL REFERENCES store (id), online INTEGER NOT NULL DEFAULT 0,
    boot INTEGER NOT NULL DEFAULT 0, last_seen REAL, birth TEXT, state TEXT, held TEXT, complete_to REAL
) STRICT;

CREATE TABLE stream (                      -- mark_t: event time near the mark; why, why_seq: the last refused record
    st TEXT PRIMARY KEY, device TEXT NOT NULL, mark INTEGER NOT NULL, ahead TEXT NOT NULL,
    refused INTEGER NOT NULL, missing INTEGER NOT NULL, last_t REAL NOT NULL,
    mark_t REAL, boot INTEGER NOT NULL DEFAULT 0, clk TEXT, losses INTEGER NOT NULL DEFAULT 0,
    why TEXT, why_seq INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX stream_device ON stream (device);

CREATE TABLE reading (
    st TEXT NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, name TEXT NOT NULL, t REAL NOT NULL,
    unit TEXT NOT NULL, value ANY, quality TEXT NOT NULL, PRIMARY KEY (st, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX reading_warm ON reading (t) WHERE unit = 'Cel';
CREATE INDEX reading_report ON reading (device) WHERE name = 'commissioning/report';

CREATE TABLE latest (
    device TEXT NOT NULL, name TEXT NOT NULL, t REAL NOT NULL, unit TEXT NOT NULL, value ANY, quality TEXT NOT NULL,
    sku TEXT, st TEXT NOT NULL DEFAULT '', seq INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE loss (                        -- what a device told that it could not keep: n records between t0 and t1
    st TEXT NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, t REAL NOT NULL, why TEXT NOT NULL,
    what TEXT NOT NULL, n INTEGER NOT NULL, t0 REAL, t1 REAL, PRIMARY KEY (st, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX loss_t ON loss (t);

CREATE TABLE flow (                        -- per 15-minute window of event time; in_stock and observed in seconds
    store TEXT NOT NULL, sku TEXT NOT NULL, window INTEGER NOT NULL,
    sold REAL NOT NULL DEFAULT 0, put_back REAL NOT NULL DEFAULT 0, restocked REAL NOT NULL DEFAULT 0,
    in_stock REAL NOT NULL DEFAULT 0, observed REAL NOT NULL DEFAULT 0,
    rev INTEGER NOT NULL DEFAULT 0,        -- the revision that last changed it
    PRIMARY KEY (store, sku, window)
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_window ON flow (window);

CREATE TABLE change (                      -- which windows of a store a revision changed, the newest revisions only
    rev INTEGER NOT NULL, store TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (rev, store)
) STRICT, WITHOUT ROWID;

CREATE TABLE sku (                         -- the catalogue; amount in `unit`: g, ml or piece
    id TEXT PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, amount REAL, unit TEXT NOT NULL,
    launched INTEGER, most_celsius REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE renamed (                     -- facts under `old` count for `sku`
    old TEXT PRIMARY KEY, sku TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (                       -- deliveries whose date is known; Unix seconds
    store TEXT NOT NULL, sku TEXT NOT NULL, best_before INTEGER NOT NULL, received INTEGER NOT NULL,
    units REAL NOT NULL, PRIMARY KEY (store, sku, best_before, received)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, device TEXT NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
    payload BLOB NOT NULL, count INTEGER NOT NULL, first_t REAL NOT NULL, last_t REAL NOT NULL
) STRICT;

CREATE INDEX quarantine_device ON quarantine (device);

CREATE TABLE ingest_refusal (              -- what the ingest refused of a device, n times, by the reason's first word
    device TEXT NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL, first_t REAL NOT NULL, last_t REAL NOT NULL,
    detail TEXT NOT NULL, PRIMARY KEY (device, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX ingest_refusal_t ON ingest_refusal (last_t);

CREATE TABLE growth (                      -- how many rows of a kind a device may still add, as of t: see growth.py
    device TEXT NOT NULL, what TEXT NOT NULL, left_over REAL NOT NULL, t REAL NOT NULL, PRIMARY KEY (device, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE token (                       -- who may ask over HTTP; of the secret the SHA-256 only; Unix seconds
    id TEXT PRIMARY KEY, name TEXT NOT NULL, scope TEXT NOT NULL, hash BLOB NOT NULL, made REAL NOT NULL,
    ends REAL NOT NULL, used REAL, revoked REAL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked IS NULL;

CREATE TABLE session (                     -- a browser that logged in with a token
    hash BLOB PRIMARY KEY, token TEXT NOT NULL REFERENCES token (id), made REAL NOT NULL, ends REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE http_refusal (                -- what the HTTP side refused: n times to `source`, in the name of `subject`
    kind TEXT NOT NULL, subject TEXT NOT NULL, source TEXT NOT NULL, n INTEGER NOT NULL, first_t REAL NOT NULL,
    last_t REAL NOT NULL, PRIMARY KEY (kind, subject, source)
) STRICT, WITHOUT ROWID;

-- Up to when a device has delivered everything: by the outbox it told, else by its streams, the least of those with
-- a hole; NULL where neither says.
CREATE VIEW progress AS
SELECT device.id AS device, device.store AS store, CASE
    WHEN device.complete_to IS NOT NULL THEN device.complete_to
    WHEN max(stream.ahead != '[]' AND stream.mark_t IS NULL) THEN NULL
    ELSE coalesce(min(CASE WHEN stream.ahead != '[]' THEN stream.mark_t END), max(stream.mark_t)) END AS complete_to
FROM device LEFT JOIN stream ON stream.device = device.id GROUP BY device.id;
