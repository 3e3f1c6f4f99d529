"""Histories of mail for measuring the store: made by SQL inside DuckDB, so that many millions of events take minutes.

The mail of a mid-sized sender: six in ten to the large consumer providers, the rest to a long tail of companies hosted
by a few; campaigns that belong to a tenant, a pool and an hour; deferrals that are repeated; replies with parameters;
some mail that never ends. Events are told in clear, in the columns of `mta.events.rows`, as a reader of logs would, so
everything behind that does its usual work: keys, providers, classes, outcomes, figures.

All chance is a hash of the message's number: the same numbers make the same history on every machine.
"""

from __future__ import annotations

import duckdb

__all__ = ["EVENTS_PER_MESSAGE", "prepare", "tell"]

EVENTS_PER_MESSAGE = 2.17

_LOOKUPS = """
CREATE OR REPLACE TEMP TABLE mailbox AS
SELECT *, sum(share) OVER (ORDER BY rank) AS upto FROM (VALUES
    (1, 'gmail.com', 270), (2, 'hotmail.com', 60), (3, 'outlook.com', 50), (4, 'yahoo.com', 80), (5, 'icloud.com', 40),
    (6, 'aol.com', 15), (7, 'gmx.de', 22), (8, 'web.de', 20), (9, 'orange.fr', 15), (10, 'comcast.net', 12),
    (11, 't-online.de', 10), (12, 'libero.it', 8), (13, 'mail.ru', 6), (14, 'free.fr', 6), (15, 'laposte.net', 4),
    (16, 'btinternet.com', 4), (17, 'seznam.cz', 3), (18, 'wp.pl', 3), (19, 'ziggo.nl', 2), (20, 'bigpond.com', 2)
) AS m(rank, domain, share);
CREATE OR REPLACE TEMP TABLE hosted AS
SELECT *, sum(share) OVER (ORDER BY rank) AS upto FROM (VALUES
    (1, 'tenant.mail.protection.outlook.com', 420), (2, 'aspmx.l.google.com', 280),
    (3, 'eu-smtp-inbound-1.mimecast.com', 70), (4, 'mx0a.pphosted.com', 60), (5, 'mx1.ovh.net', 30),
    (6, 'mx00.ionos.de', 30), (7, 'mx.zoho.com', 10), (8, 'd1.ess.barracudanetworks.com', 20), (9, NULL, 80)
) AS h(rank, mx, share);
CREATE OR REPLACE TEMP TABLE addressee AS
SELECT slot, domain, 'mx' || hash(domain) % 4 || '.' || domain AS mx FROM range(632) AS s(slot)
JOIN mailbox ON slot < upto AND slot >= upto - share
UNION ALL
SELECT 632 + slot, 'company' || slot || '.example', coalesce(mx, 'mx.isp' || slot % 300 || '.example')
FROM range(60000) AS s(slot) JOIN hosted ON hash(slot, 11) % 1000 < upto AND hash(slot, 11) % 1000 >= upto - share;
CREATE OR REPLACE TEMP TABLE sentence AS SELECT row_number() OVER () - 1 AS number, * FROM (VALUES
    (true, 421, '4.7.0', 'Too many connections from your host, wait {n} seconds before the next'),
    (true, 451, '4.7.1', 'Greylisted, come back in {n} seconds'),
    (true, 450, '4.2.1', 'This mailbox receives mail too fast, limit {n} an hour'),
    (true, 421, '4.4.5', 'Server busy, reference {id}'),
    (true, 452, '4.2.2', 'The mailbox of {addr} is over its quota'),
    (true, 451, '4.3.0', 'Temporary local problem, see https://help.example/{id}'),
    (false, 550, '5.1.1', 'No such user {addr} here, id {id}'),
    (false, 550, '5.1.1', 'The account {addr} does not exist'),
    (false, 554, '5.7.1', 'Your host is on a block list, see https://postmaster.example/lookup?id={id}'),
    (false, 550, '5.7.26', 'Unauthenticated mail is not accepted from this sender, code {n}'),
    (false, 552, '5.2.2', 'Mailbox full, session {id}'),
    (false, 550, '5.2.1', 'The mailbox {addr} is disabled'),
    (false, 554, '5.6.0', 'Message refused as spam, score {n}')
) AS s(passing, code, enhanced, text);
"""

_TELL = """
INSERT INTO clear BY NAME
WITH message AS (
    SELECT i, $start + (i * $step)::BIGINT + (hash(i, 1) % 1000000)::BIGINT AS created,
           hash(i, 2) % 1000 / 1000 AS a, hash(i, 3) % 1000 / 1000 AS b, hash(i, 4) % 100000 / 100000 AS c,
           (pow(hash(i, 5) % 1000003 / 1000003, 3) * 39.9)::INT AS tenant, i // 20000 AS wave,
           md5('q' || i) AS queue_id
    FROM range($first, $last) AS r(i)
), addressed AS (
    SELECT *, 'node' || hash(i, 8) % 4 AS node, 300000 + hash(i, 10) % 4000000 * (1 + hash(i, 11) % 5) AS took,
           CASE WHEN c < 0.632 THEN (c * 1000)::INT % 632
                ELSE 632 + (pow((c - 0.632) / 0.368, 2.5) * 59999)::INT END AS slot
    FROM message
), told AS (
    SELECT *, 'reception' AS type, created AS time, NULL AS attempt, NULL AS said FROM addressed
    UNION ALL
    SELECT *, 'deferral', created + took, 1, hash(i, 12) % 6 FROM addressed WHERE a < 0.125
    UNION ALL
    SELECT *, 'deferral', created + took + 1200000000 + hash(i, 17) % 9000000, 2, hash(i, 12) % 6
    FROM addressed WHERE a < 0.05
    UNION ALL
    SELECT *, CASE WHEN b < 0.972 THEN 'delivery' WHEN b < 0.994 THEN 'bounce' ELSE 'expiration' END,
           created + took + CASE WHEN b >= 0.994 THEN 86400000000 WHEN a < 0.05 THEN 3600000000 + hash(i, 18) % 9000000
                                 WHEN a < 0.125 THEN 1200000000 + hash(i, 18) % 9000000 ELSE 0 END,
           CASE WHEN a < 0.05 THEN 3 WHEN a < 0.125 THEN 2 ELSE 1 END,
           CASE WHEN b >= 0.972 THEN 6 + hash(i, 13) % 7 END
    FROM addressed WHERE b < 0.999
)
SELECT row_number() OVER () AS record, type, time, node, 'kumomta' AS mta, queue_id,
       'user' || hash(i, 9) % 2500000 || '@' || domain AS recipient, 0 AS ordinal, created, attempt,
       'outbound' AS direction, CASE WHEN type = 'expiration' THEN 'local' ELSE 'remote' END AS origin,
       'bounce@mail.tenant' || tenant || '.example' AS sender,
       queue_id || '@mail.tenant' || tenant || '.example' AS message_id, 8000 + hash(wave, tenant) % 60000 AS size,
       CASE WHEN type <> 'reception' THEN coalesce(s.code, 250) END AS code, s.enhanced,
       replace(replace(replace(s.text, '{n}', (hash(i, 14) % 900)::VARCHAR), '{id}', md5(i::VARCHAR)[:12]), '{addr}',
           'user' || hash(i, 9) % 2500000 || '@' || domain) AS text,
       CASE WHEN type <> 'reception' THEN 'end-of-data' END AS phase,
       CASE WHEN type IN ('delivery', 'deferral', 'bounce') THEN mx END AS peer_host,
       CASE WHEN type IN ('delivery', 'deferral', 'bounce')
            THEN concat_ws('.', 203, 0, hash(mx) % 250, hash(i, 15) % 20) END AS peer_ip,
       'ip' || tenant % 3 * 4 + hash(i, 16) % 4 AS source,
       '198.51.100.' || tenant % 3 * 4 + hash(i, 16) % 4 AS source_ip,
       'pool' || tenant % 3 AS pool, 'tenant' || tenant AS tenant, 'c' || tenant || '-' || wave // 4 AS campaign,
       'tenant' || tenant || '.example' AS dkim_domain, CASE WHEN type = 'delivery' THEN 'TLSv1.3' END AS tls_version
FROM told JOIN addressee USING (slot) LEFT JOIN sentence s ON s.number = said
"""


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Make what `tell` looks up: who mail goes to and what failures say. Temporary tables of this connection."""
    con.execute(_LOOKUPS)


def tell(con: duckdb.DuckDBPyConnection, *, start: int, step: float, first: int, last: int) -> None:
    """Put the events of messages [`first`, `last`) into the table `clear`; one begins every `step` microseconds."""
    con.execute(_TELL, {"start": start, "step": step, "first": first, "last": last})
