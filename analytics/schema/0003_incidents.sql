-- Schema 3: what the spike detector is fed, and the incidents that it finds. Times are TIMESTAMP in UTC, microseconds.

-- Outbound mail by 5-minute step of event time: each provider (dimension ''), and its tenants and pools. Append-only
-- while mail comes in, the sum of a key's rows is its count; analytics/steps.py adds them up later.
CREATE TABLE step_count (
    step       TIMESTAMP NOT NULL,
    provider   VARCHAR   NOT NULL,
    dimension  VARCHAR   NOT NULL,    -- '', tenant, pool
    value      VARCHAR   NOT NULL,
    ended      BIGINT    NOT NULL,    -- recipients delivered, bounced or expired
    delivered  BIGINT    NOT NULL,
    blocked    BIGINT    NOT NULL,    -- of the bounced ones, those that the provider refused for who we are
    answered   BIGINT    NOT NULL,    -- attempts that the provider answered
    deferred   BIGINT    NOT NULL,    -- of these, those put off
    complained BIGINT    NOT NULL     -- complaints received about mail of this key
);

-- One row an incident, changed as it goes on. Lists and objects are JSON.
CREATE TABLE incident (
    id              VARCHAR   PRIMARY KEY,
    kind            VARCHAR   NOT NULL,
    provider        VARCHAR   NOT NULL,
    scope           VARCHAR   NOT NULL,    -- object: the part of the provider's mail, empty for all of it
    began           TIMESTAMP NOT NULL,    -- as far as can be told
    opened          TIMESTAMP NOT NULL,
    closed          TIMESTAMP,
    level           DOUBLE    NOT NULL,
    baseline        DOUBLE    NOT NULL,
    numerator       BIGINT    NOT NULL,
    denominator     BIGINT    NOT NULL,
    signals         VARCHAR   NOT NULL,    -- list: every series that showed it
    findings        VARCHAR   NOT NULL,    -- object: causes, replies, advice
    told_at         TIMESTAMP,             -- when somebody was last notified; NULL while nobody was
    acknowledged_at TIMESTAMP,
    acknowledged_by VARCHAR
);

-- How far the watch has come, and what it has learnt by `saved_to` (zstd of JSON): what came later is replayed at start.
CREATE TABLE watch_state (
    version   INTEGER   NOT NULL,
    judged_to TIMESTAMP NOT NULL,
    saved_to  TIMESTAMP NOT NULL,
    state     BLOB      NOT NULL
);

-- Incidents that match every non-NULL column tell nobody while the silence lasts.
CREATE TABLE silence (
    id       VARCHAR   PRIMARY KEY,
    kind     VARCHAR,
    provider VARCHAR,
    tenant   VARCHAR,
    pool     VARCHAR,
    since    TIMESTAMP NOT NULL,
    until    TIMESTAMP NOT NULL,
    author   VARCHAR   NOT NULL,
    reason   VARCHAR   NOT NULL
);

-- What is still to be told, and to whom: written with the incident's change, removed when the other side has taken it.
CREATE TABLE notification (
    id          VARCHAR   PRIMARY KEY,
    incident_id VARCHAR   NOT NULL,
    channel     VARCHAR   NOT NULL,
    change      VARCHAR   NOT NULL,    -- opened, renewed, closed
    written_at  TIMESTAMP NOT NULL,
    due_at      TIMESTAMP NOT NULL,
    attempts    INTEGER   NOT NULL,
    last_error  VARCHAR,
    body        VARCHAR   NOT NULL
);

-- Recipients in flight by provider at each step, for growth of the backlog.
CREATE TABLE backlog (
    step      TIMESTAMP NOT NULL,
    provider  VARCHAR   NOT NULL,
    in_flight BIGINT    NOT NULL,
    age_p90   DOUBLE    NOT NULL      -- seconds
);
