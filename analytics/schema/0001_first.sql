-- Schema 1. Times are TIMESTAMP in UTC, microseconds. See docs/decisions/0002-store.md for why it looks like this.

CREATE TABLE schema_version (version INTEGER NOT NULL, applied_at TIMESTAMP NOT NULL);

CREATE TYPE event_type AS ENUM (
    'reception', 'delivery', 'deferral', 'bounce', 'expiration', 'admin_bounce', 'oob_bounce', 'complaint',
    'rejection', 'delayed', 'rebind', 'transfer_out', 'transfer_in');
CREATE TYPE event_origin AS ENUM ('remote', 'local');
CREATE TYPE mail_direction AS ENUM ('outbound', 'inbound', 'internal');
CREATE TYPE rate_clock AS ENUM ('event', 'cohort');

-- Every fact, once. No primary key: uniqueness is kept by the loader's anti-join over the batch's time range.
CREATE TABLE event (
    event_id        UUID           NOT NULL,
    unit_id         UBIGINT        NOT NULL,
    message_key     UBIGINT        NOT NULL,
    recipient_hash  UBIGINT,
    key_epoch       UTINYINT       NOT NULL,
    time            TIMESTAMP      NOT NULL,
    type            event_type     NOT NULL,
    origin          event_origin   NOT NULL,
    direction       mail_direction NOT NULL,
    attempt         USMALLINT,
    ordinal         UINTEGER       NOT NULL,
    created         TIMESTAMP,
    node            VARCHAR        NOT NULL,
    mta             VARCHAR        NOT NULL,
    queue_id        VARCHAR        NOT NULL,
    domain          VARCHAR        NOT NULL,
    provider        VARCHAR        NOT NULL,
    provider_group  VARCHAR        NOT NULL,
    gateway         VARCHAR,
    evidence        UTINYINT       NOT NULL,
    sender_domain   VARCHAR,
    message_id      VARCHAR,
    size            UINTEGER,
    code            USMALLINT,
    enhanced        VARCHAR,
    phase           VARCHAR,
    template_id     UBIGINT,
    parameters      VARCHAR[],
    bounce_class    VARCHAR,
    bounce_group    VARCHAR,
    severity        VARCHAR,
    rule            VARCHAR,
    peer_host       VARCHAR,
    peer_ip         VARCHAR,
    source          VARCHAR,
    source_ip       VARCHAR,
    pool            VARCHAR,
    tenant          VARCHAR,
    campaign        VARCHAR,
    tls_version     VARCHAR,
    feedback_type   VARCHAR,
    successor_id    VARCHAR,
    loaded_at       TIMESTAMP      NOT NULL
);

-- The constant part of replies; events keep the id and the parameters. Addresses are masked before this (promise 9).
CREATE TABLE reply_template (id UBIGINT PRIMARY KEY, text VARCHAR NOT NULL, first_seen TIMESTAMP NOT NULL);

-- Late bounces and complaints, and the unit that each was found to belong to.
CREATE TABLE feedback (
    event_id            UUID       NOT NULL,
    time                TIMESTAMP  NOT NULL,
    type                event_type NOT NULL,
    recipient_hash      UBIGINT,
    original_message_id VARCHAR,
    bounce_class        VARCHAR,
    severity            VARCHAR,
    unit_id             UBIGINT,
    matched_by          VARCHAR
);

-- Append-only, signed: the sum of a bucket's rows is its figure. `bucket` starts a minute; compaction coarsens old ones.
-- The measures are listed in analytics/rollup.py, which also creates this table and `unit` (analytics/lifecycle.py).

-- Domain to provider as seen from the MX actually used (METRICS.md 4.1 step 3).
CREATE TABLE learned_provider (
    domain VARCHAR PRIMARY KEY, provider VARCHAR NOT NULL, provider_group VARCHAR NOT NULL, gateway VARCHAR,
    first_seen TIMESTAMP NOT NULL, last_seen TIMESTAMP NOT NULL);

-- Which label a provider's counters carry and whether it runs a feedback loop; fixed when it is first named (promise 10).
CREATE TABLE provider_label (provider VARCHAR PRIMARY KEY, label VARCHAR NOT NULL, runs_loop BOOLEAN NOT NULL);

-- Accumulators of first-seen events, changed only in the transaction that stores the events.
-- `labels` is the JSON array of label values, because a list can be no key.
CREATE TABLE counter (
    metric VARCHAR NOT NULL, labels VARCHAR NOT NULL, value DOUBLE NOT NULL, PRIMARY KEY (metric, labels));

CREATE TABLE checkpoint (
    source VARCHAR PRIMARY KEY, read_to UBIGINT NOT NULL, path VARCHAR NOT NULL, finished BOOLEAN NOT NULL,
    changed_at TIMESTAMP NOT NULL);

CREATE TABLE quarantine (
    source VARCHAR NOT NULL, read_at UBIGINT NOT NULL, reason VARCHAR NOT NULL, detail VARCHAR NOT NULL,
    raw BLOB NOT NULL, size UBIGINT NOT NULL, quarantined_at TIMESTAMP NOT NULL);

-- Where each node's records have got to; a clock that runs ahead is clamped and shown.
CREATE TABLE watermark (node VARCHAR PRIMARY KEY, reached TIMESTAMP NOT NULL, ahead_us BIGINT NOT NULL);
