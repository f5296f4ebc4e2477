-- From version 3 to version 4, in one transaction.
CREATE TABLE token (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, scope TEXT NOT NULL, hash BLOB NOT NULL, made REAL NOT NULL,
    ends REAL NOT NULL, used REAL, revoked REAL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked IS NULL;

CREATE TABLE session (
    hash BLOB PRIMARY KEY, token TEXT NOT NULL REFERENCES token (id), made REAL NOT NULL, ends REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE http_refusal (
    kind TEXT NOT NULL, subject TEXT NOT NULL, source TEXT NOT NULL, n INTEGER NOT NULL, first_t REAL NOT NULL,
    last_t REAL NOT NULL, PRIMARY KEY (kind, subject, source)
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = 4 WHERE key = 'version';
