-- Schema 5: hops of one mail are joined; figures by DKIM domain, source address and reply. New columns of `unit` and
-- `message` are those of analytics/lifecycle.py; a store that is there gets them here.

ALTER TABLE event ADD COLUMN IF NOT EXISTS dkim_domain VARCHAR;
ALTER TABLE feedback ADD COLUMN IF NOT EXISTS template_id UBIGINT;

-- Transfers to another hop of ours, and the unit there, once it is known. Several rows a unit are the same transfer.
CREATE TABLE hop (
    unit_id        UBIGINT   NOT NULL,
    recipient_hash UBIGINT   NOT NULL,
    moment         TIMESTAMP NOT NULL,
    successor_id   VARCHAR,              -- the queue id that the next hop gave, if the log tells it
    joined         UBIGINT               -- the unit of the next hop
);
