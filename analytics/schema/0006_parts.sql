-- Schema 6: sealed history lies in Parquet files beside the database (analytics/parts.py); this is their ledger.

CREATE TABLE part (
    name           VARCHAR   NOT NULL,    -- of the file
    recipients     BIGINT    NOT NULL,    -- signed sum: those that are taken back count -1
    rows           BIGINT    NOT NULL,
    events         BIGINT    NOT NULL,
    first_injected TIMESTAMP NOT NULL,
    last_injected  TIMESTAMP NOT NULL,
    first_moment   TIMESTAMP NOT NULL,    -- of anything that a row knows of
    last_moment    TIMESTAMP NOT NULL,
    bytes          BIGINT    NOT NULL,
    digest         VARCHAR   NOT NULL,    -- SHA-256 of the file
    sealed_at      TIMESTAMP NOT NULL,
    damage         VARCHAR                -- why the file cannot be relied on; NULL while it can
);

-- How many recipients each part holds by outcome: what the counting identity adds to those still in `unit`.
CREATE TABLE part_outcome (name VARCHAR NOT NULL, outcome VARCHAR NOT NULL, recipients BIGINT NOT NULL);

-- Reports are looked up among sealed recipients once.
ALTER TABLE feedback ADD COLUMN IF NOT EXISTS sought BOOLEAN DEFAULT false;
