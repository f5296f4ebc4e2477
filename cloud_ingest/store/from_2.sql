-- From version 2 to version 3, in one transaction.
ALTER TABLE store ADD COLUMN hours TEXT NOT NULL DEFAULT '';
ALTER TABLE store ADD COLUMN removed INTEGER;

CREATE TABLE place (
    store TEXT NOT NULL, since INTEGER NOT NULL, lat REAL NOT NULL, lon REAL NOT NULL, tz TEXT NOT NULL,
    hours TEXT NOT NULL, r9 TEXT NOT NULL, r8 TEXT NOT NULL, r7 TEXT NOT NULL, r6 TEXT NOT NULL, r5 TEXT NOT NULL,
    PRIMARY KEY (store, since)
) STRICT, WITHOUT ROWID;
INSERT INTO place SELECT id, 0, lat, lon, tz, '', r9, r8, r7, r6, r5 FROM store;

ALTER TABLE flow ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;

CREATE INDEX reading_warm ON reading (t) WHERE unit = 'Cel';

CREATE TABLE change (
    rev INTEGER NOT NULL, store TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (rev, store)
) STRICT, WITHOUT ROWID;

CREATE TABLE sku (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, amount REAL, unit TEXT NOT NULL,
    launched INTEGER, most_celsius REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE renamed (
    old TEXT PRIMARY KEY, sku TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
    store TEXT NOT NULL, sku TEXT NOT NULL, best_before INTEGER NOT NULL, received INTEGER NOT NULL,
    units REAL NOT NULL, PRIMARY KEY (store, sku, best_before, received)
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = 3 WHERE key = 'version';
