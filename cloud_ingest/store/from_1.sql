-- From version 1 to version 2, in one transaction.
ALTER TABLE device ADD COLUMN held TEXT;
ALTER TABLE device ADD COLUMN complete_to REAL;

ALTER TABLE stream ADD COLUMN mark_t REAL;
ALTER TABLE stream ADD COLUMN boot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN clk TEXT;
ALTER TABLE stream ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN why TEXT;
ALTER TABLE stream ADD COLUMN why_seq INTEGER NOT NULL DEFAULT 0;
CREATE INDEX stream_device ON stream (device);
UPDATE stream SET mark_t = (SELECT max(t) FROM (
    SELECT t FROM reading WHERE reading.st = stream.st AND reading.seq <= stream.mark ORDER BY seq DESC LIMIT 64));

ALTER TABLE latest ADD COLUMN st TEXT NOT NULL DEFAULT '';
ALTER TABLE latest ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;

CREATE TABLE loss (
    st TEXT NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, t REAL NOT NULL, why TEXT NOT NULL,
    what TEXT NOT NULL, n INTEGER NOT NULL, t0 REAL, t1 REAL, PRIMARY KEY (st, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX loss_t ON loss (t);

CREATE VIEW progress AS
SELECT device.id AS device, device.store AS store, CASE
    WHEN device.complete_to IS NOT NULL THEN device.complete_to
    WHEN max(stream.ahead != '[]' AND stream.mark_t IS NULL) THEN NULL
    ELSE coalesce(min(CASE WHEN stream.ahead != '[]' THEN stream.mark_t END), max(stream.mark_t)) END AS complete_to
FROM device LEFT JOIN stream ON stream.device = device.id GROUP BY device.id;

UPDATE meta SET value = 2 WHERE key = 'version';
