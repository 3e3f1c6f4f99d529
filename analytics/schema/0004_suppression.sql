-- Schema 4: bounces know their send by a signed return path; recipients that mail may no longer be sent to.

ALTER TABLE feedback ADD COLUMN original_unit UBIGINT;

-- Who is not to be sent to, and why. `tenant` is '' for everybody. `address` only if the operator wants it in clear.
CREATE TABLE suppression (
    recipient_hash UBIGINT   NOT NULL,
    key_epoch      UTINYINT  NOT NULL,
    tenant         VARCHAR   NOT NULL,
    reason         VARCHAR   NOT NULL,
    bounce_class   VARCHAR,
    domain         VARCHAR   NOT NULL,
    added_at       TIMESTAMP NOT NULL,
    expires_at     TIMESTAMP,
    source_event   UUID,
    note           VARCHAR,
    address        VARCHAR,
    PRIMARY KEY (recipient_hash, tenant));

-- Failures that suppress only when they come again: one row a failed mail, until they are enough or too old.
CREATE TABLE suppression_strike (
    recipient_hash UBIGINT   NOT NULL,
    key_epoch      UTINYINT  NOT NULL,
    tenant         VARCHAR   NOT NULL,
    bounce_class   VARCHAR   NOT NULL,
    domain         VARCHAR   NOT NULL,
    unit_id        UBIGINT   NOT NULL,
    time           TIMESTAMP NOT NULL,
    event_id       UUID      NOT NULL);

-- `version` of the snapshot file that was last made from the list.
CREATE TABLE suppression_version (version UBIGINT NOT NULL, changed_at TIMESTAMP NOT NULL);
INSERT INTO suppression_version VALUES (0, TIMESTAMP '1970-01-01');
