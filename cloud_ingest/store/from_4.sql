-- From version 4 to version 5, in one transaction.
CREATE TABLE ingest_refusal (
    device TEXT NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL, first_t REAL NOT NULL, last_t REAL NOT NULL,
    detail TEXT NOT NULL, PRIMARY KEY (device, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX ingest_refusal_t ON ingest_refusal (last_t);

CREATE TABLE growth (
    device TEXT NOT NULL, what TEXT NOT NULL, left_over REAL NOT NULL, t REAL NOT NULL, PRIMARY KEY (device, what)
) STRICT, WITHOUT ROWID;

CREATE INDEX quarantine_device ON quarantine (device);

CREATE INDEX reading_report ON reading (device) WHERE name = 'commissioning/report';

UPDATE meta SET value = 5 WHERE key = 'version';
