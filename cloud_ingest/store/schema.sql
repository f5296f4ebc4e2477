-- Version 1. `flow` is made of sums, so a late, repeated or reordered batch ends in the same state.
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES ('version', 1), ('revision', 0);

CREATE TABLE store (                       -- the registry: a device's word about its place counts for nothing
    id TEXT PRIMARY KEY, name TEXT NOT NULL, lat REAL NOT NULL, lon REAL NOT NULL, tz TEXT NOT NULL,
    r9 TEXT NOT NULL, r8 TEXT NOT NULL, r7 TEXT NOT NULL, r6 TEXT NOT NULL, r5 TEXT NOT NULL
) STRICT;

CREATE TABLE device (
    id TEXT PRIMARY KEY, store TEXT NOT NULL REFERENCES store (id), online INTEGER NOT NULL DEFAULT 0,
    boot INTEGER NOT NULL DEFAULT 0, last_seen REAL, birth TEXT, state TEXT
) STRICT;

CREATE TABLE stream (
    st TEXT PRIMARY KEY, device TEXT NOT NULL, mark INTEGER NOT NULL, ahead TEXT NOT NULL,
    refused INTEGER NOT NULL, missing INTEGER NOT NULL, last_t REAL NOT NULL
) STRICT;

CREATE TABLE reading (
    st TEXT NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, name TEXT NOT NULL, t REAL NOT NULL,
    unit TEXT NOT NULL, value ANY, quality TEXT NOT NULL, PRIMARY KEY (st, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE latest (
    device TEXT NOT NULL, name TEXT NOT NULL, t REAL NOT NULL, unit TEXT NOT NULL, value ANY, quality TEXT NOT NULL,
    sku TEXT, PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE flow (                        -- per 15-minute window of event time; in_stock and observed in seconds
    store TEXT NOT NULL, sku TEXT NOT NULL, window INTEGER NOT NULL,
    sold REAL NOT NULL DEFAULT 0, put_back REAL NOT NULL DEFAULT 0, restocked REAL NOT NULL DEFAULT 0,
    in_stock REAL NOT NULL DEFAULT 0, observed REAL NOT NULL DEFAULT 0, PRIMARY KEY (store, sku, window)
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_window ON flow (window);

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, device TEXT NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
    payload BLOB NOT NULL, count INTEGER NOT NULL, first_t REAL NOT NULL, last_t REAL NOT NULL
) STRICT;
