-- Schema 2: DMARC aggregate reports, TLS reports and failure reports. Times are TIMESTAMP in UTC, microseconds.
--
-- One row of dmarc.report for each distinct report, whatever its kind; the other tables hang on its report_id. The tables
-- are flat on purpose: results nested in records make cross products, which is how others came to wrong sums.
-- NULL means that the report did not say; nothing is filled in with what a standard would have assumed.

CREATE SCHEMA dmarc;

-- Report ids are handed out in blocks of 1000, so that several loads may go on at once.
CREATE SEQUENCE dmarc.report_block INCREMENT BY 1000 START 1;

CREATE TABLE dmarc.report (
    report_id       BIGINT    NOT NULL,
    kind            VARCHAR   NOT NULL,    -- aggregate, tls, failure
    report_key      UUID      NOT NULL,    -- of reporter, id, domain and period: equal for a report and its revisions
    content_hash    UUID      NOT NULL,    -- of the unpacked report
    outcome         VARCHAR   NOT NULL,    -- ok, recovered
    mail_auth       VARCHAR   NOT NULL,    -- DMARC result of the carrying mail: pass, fail, none, unknown
    source          VARCHAR   NOT NULL,    -- mailbox, folder or file it came from
    member          VARCHAR,
    mail_message_id VARCHAR,
    mail_domain     VARCHAR,
    org_name        VARCHAR,
    org_contact     VARCHAR,
    reported_id     VARCHAR,               -- the reporter's own id, verbatim
    domain          VARCHAR,
    begin_at        TIMESTAMP,
    end_at          TIMESTAMP,
    records         BIGINT    NOT NULL,
    messages        BIGINT    NOT NULL,    -- TLS: sessions
    passed          BIGINT    NOT NULL,
    p               VARCHAR,
    sp              VARCHAR,
    np              VARCHAR,
    adkim           VARCHAR,
    aspf            VARCHAR,
    pct             INTEGER,
    fo              VARCHAR,
    testing         BOOLEAN,
    discovery       VARCHAR,
    namespace       VARCHAR,
    version         VARCHAR,
    generator       VARCHAR,
    errors          VARCHAR[],
    warnings        VARCHAR[] NOT NULL,
    received_at     TIMESTAMP NOT NULL,
    revision        INTEGER   NOT NULL,    -- 0 is the first that came; later ones count up
    is_current      BOOLEAN   NOT NULL     -- exactly one revision of a report_key is
);

CREATE TABLE dmarc.record (
    report_id     BIGINT    NOT NULL,
    ordinal       UINTEGER  NOT NULL,
    source_ip     VARCHAR,
    messages      BIGINT    NOT NULL,
    disposition   VARCHAR,                 -- none, pass, quarantine, reject
    dkim_aligned  BOOLEAN,
    spf_aligned   BOOLEAN,
    passed        BOOLEAN   NOT NULL,
    header_from   VARCHAR,
    envelope_from VARCHAR,
    envelope_to   VARCHAR,
    extensions    VARCHAR,                 -- JSON, capped
    domain        VARCHAR,                 -- copied from the report, like the period: nearly every question filters by them
    begin_at      TIMESTAMP,
    end_at        TIMESTAMP
);

CREATE TABLE dmarc.auth (
    report_id    BIGINT   NOT NULL,
    ordinal      UINTEGER NOT NULL,
    position     USMALLINT NOT NULL,
    kind         VARCHAR  NOT NULL,        -- dkim, spf
    domain       VARCHAR,
    selector     VARCHAR,
    scope        VARCHAR,
    result       VARCHAR,
    raw_result   VARCHAR,
    human_result VARCHAR
);

CREATE TABLE dmarc.override (
    report_id BIGINT    NOT NULL,
    ordinal   UINTEGER  NOT NULL,
    position  USMALLINT NOT NULL,
    type      VARCHAR,
    comment   VARCHAR
);

CREATE TABLE dmarc.tls_policy (
    report_id     BIGINT    NOT NULL,
    position      USMALLINT NOT NULL,
    policy_type   VARCHAR,
    domain        VARCHAR,
    policy_string VARCHAR[] NOT NULL,
    mx_host       VARCHAR[] NOT NULL,
    successful    BIGINT    NOT NULL,
    failed        BIGINT    NOT NULL
);

CREATE TABLE dmarc.tls_failure (
    report_id             BIGINT    NOT NULL,
    position              USMALLINT NOT NULL,
    ordinal               USMALLINT NOT NULL,
    result_type           VARCHAR,
    sending_mta_ip        VARCHAR,
    receiving_ip          VARCHAR,
    receiving_mx_hostname VARCHAR,
    receiving_mx_helo     VARCHAR,
    sessions              BIGINT    NOT NULL,
    additional            VARCHAR,
    reason_code           VARCHAR
);

-- Of the failed message no content, and of people only keyed hashes (promise 9).
CREATE TABLE dmarc.failure (
    report_id              BIGINT    NOT NULL,
    feedback_type          VARCHAR   NOT NULL,
    auth_failure           VARCHAR,
    align_failed           VARCHAR[],
    delivery_result        VARCHAR,
    source_ip              VARCHAR,
    source_port            INTEGER,
    incidents              BIGINT    NOT NULL,
    mail_from_domain       VARCHAR,
    recipient_hashes       UBIGINT[] NOT NULL,
    recipient_domains      VARCHAR[] NOT NULL,
    authentication_results VARCHAR[] NOT NULL,
    dkim_domain            VARCHAR,
    dkim_selector          VARCHAR,
    header_from            VARCHAR,
    message_id             VARCHAR
);

-- What was taken in: a mail, a file. One that comes again is known by its hash, whatever its name.
CREATE TABLE dmarc.input (
    input_hash  UUID      NOT NULL,
    source      VARCHAR   NOT NULL,
    size        BIGINT    NOT NULL,
    reports     INTEGER   NOT NULL,
    quarantined INTEGER   NOT NULL,
    received_at TIMESTAMP NOT NULL
);

CREATE TABLE dmarc.quarantine (
    input_hash  UUID      NOT NULL,
    source      VARCHAR   NOT NULL,
    member      VARCHAR,
    kind        VARCHAR,
    reason      VARCHAR   NOT NULL,
    detail      VARCHAR   NOT NULL,
    org_name    VARCHAR,
    reported_id VARCHAR,
    domain      VARCHAR,
    raw         BLOB      NOT NULL,        -- the beginning of the input
    received_at TIMESTAMP NOT NULL
);

-- True counters: first-seen reports and what they held, by domain. Never lowered.
CREATE TABLE dmarc.counter (
    name   VARCHAR NOT NULL,
    label  VARCHAR NOT NULL,
    value  BIGINT  NOT NULL,
    PRIMARY KEY (name, label)
);

-- Messages per UTC day: a report over several days is spread over them by time. Only current revisions count, and only
-- reports whose carrier was not found to be forged.
CREATE VIEW dmarc.daily AS
WITH spread AS (
    SELECT r.*, unnest(generate_series(
        date_trunc('day', r.begin_at), date_trunc('day', greatest(r.begin_at, r.end_at)), INTERVAL 1 DAY)) AS day
    FROM dmarc.record r JOIN dmarc.report USING (report_id)
    WHERE is_current AND mail_auth <> 'fail' AND r.begin_at IS NOT NULL AND r.end_at IS NOT NULL
      AND r.end_at - r.begin_at < INTERVAL 400 DAY
)
SELECT *, messages * CASE WHEN end_at - begin_at <= INTERVAL 0 SECOND THEN 1.0 ELSE
    (epoch_us(least(end_at, day + INTERVAL 1 DAY)) - epoch_us(greatest(begin_at, day)))::DOUBLE
    / (epoch_us(end_at) - epoch_us(begin_at)) END AS share
FROM spread
WHERE end_at <= begin_at OR least(end_at, day + INTERVAL 1 DAY) > greatest(begin_at, day);
