"""KumoMTA's JSON log record, read in bulk: what `kumomta.py` does for one record, as SQL over columns of many.

A store that keeps its events in DuckDB can have it read a segment by itself, many times faster than Python could. The
two readers must agree event for event, so this one is narrow: it takes the everyday records (a reception, an attempt,
an expiration) in the form in which KumoMTA writes them, and passes over whatever is unusual in any way, for the other
reader to judge. It never decides that a record is wrong. The tests hold the two against each other.

A relation of `_FIELDS`, which a JSON reader makes of the lines, becomes one of `mta.events.rows.COLUMNS` and `n`. A
text field that holds what JSON would write for something else (a number, an object) is passed over: whether it stood
in quotes cannot be seen here. What only the JSON reader sees is its affair: which of two equal keys counts, and whether
a trailing comma is forgiven.
"""

from __future__ import annotations

from collections.abc import Mapping

from mta.events.intake import ColumnReader

__all__ = ["COLUMN_READER"]

_TEXTS = (
    "type", "id", "sender", "recipient", "queue", "event_time", "created_time", "egress_pool", "egress_source",
    "delivery_protocol", "reception_protocol", "nodeid", "tls_protocol_version",
)  # fmt: skip
_OBJECTS = ("response", "peer_address", "source_address", "meta", "headers")
_NUMBERS = ("size", "timestamp", "created", "num_attempts")

_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(_TEXTS, "VARCHAR"),
    **dict.fromkeys((*_OBJECTS, *_NUMBERS), "JSON"),
}
"""Keys of a record and the types as which to read them; an absent key and null are NULL."""

_TYPES = {
    "Reception": "reception",
    "Delivery": "delivery",
    "TransientFailure": "deferral",
    "Bounce": "bounce",
    "Expiration": "expiration",
}
_PHASES = {
    "HELO": "ehlo", "EHLO": "ehlo", "LHLO": "ehlo", "STARTTLS": "starttls", "AUTH": "auth", "MAIL": "mail",
    "RCPT": "rcpt", "DATA": "data", "BDAT": "dot", ".": "dot", "RSET": "rset", "QUIT": "quit",
}  # fmt: skip
_LOCAL = "KumoMTA internal: "
_OTHER_QUEUES = (".kumomta.internal", ".log_hook", ".tsa.kumomta")
_LATEST_SECOND = 253_402_300_800

_BLANKS = "E' \\t\\r\\n'"
_NO_STRING = "'-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|[{\\[](?s:.*)'"
_INSTANT = "'[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\\.[0-9]+)?Z'"
_BARE_ID = "'<[!-;=?-~]+>|[!-;=?-~]+'"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = f"'({_OCTET}\\.){{3}}{_OCTET}'"
# RFC 5952, as both Rust and Python write it, in its common forms.
_GROUP = "(0|[1-9a-f][0-9a-f]{0,3})"
_IPV6 = f"'{_GROUP}(:{_GROUP}){{0,4}}::{_GROUP}(:{_GROUP}){{0,4}}|{_GROUP}(:{_GROUP}){{7}}'"
_ODD_IPV6 = "'(^|:)0:0(:|$)|(^|:)0::|::0(:|$)|^([^:]*:){7,}.*::|::([^:]*:){6,}|^([0-9a-f]+:+){7,}[0-9a-f]+$'"


def _case(column: str, names: Mapping[str, str], default: str = "NULL") -> str:
    cases = " ".join(f"WHEN '{name}' THEN '{value}'" for name, value in names.items())
    return f"CASE {column} {cases} ELSE {default} END"


def _number(column: str, below: int) -> str:
    """SQL: an integer in its range; NULL if there is none, -1 for anything else."""
    written = f"{column}::VARCHAR"
    return (
        f"CASE WHEN {column} IS NULL THEN NULL WHEN regexp_full_match({written}, '0|[1-9][0-9]{{0,17}}') "
        f"AND {written}::BIGINT < {below} THEN {written}::BIGINT ELSE -1 END"
    )


def _instant(precise: str, coarse: str) -> str:
    """SQL: microseconds; NULL if there is no stamp, less than 0 for anything else."""
    return (
        f"CASE WHEN {precise} IS NULL THEN 1000000 * ({_number(coarse, _LATEST_SECOND)}) "
        f"WHEN regexp_full_match({precise}, {_INSTANT}) THEN coalesce(epoch_us(TRY_CAST({precise} AS TIMESTAMP)), -1) "
        "ELSE -1 END"
    )


def _host(address: str) -> str:
    """SQL: the IP in `ip`, `ip:port`, `[v6]` or `[v6]:port`."""
    return (
        f"CASE WHEN starts_with({address}, '[') THEN split_part({address}[2:], ']', 1) "
        f"WHEN strlen({address}) - strlen(replace({address}, ':', '')) = 1 THEN split_part({address}, ':', 1) "
        f"ELSE {address} END"
    )


def _is(kind: str, *kinds: str) -> str:
    """SQL: a JSON type is one of these, or there is no value."""
    return f"coalesce({kind} IN ({', '.join(repr(one) for one in (*kinds, 'NULL'))}), true)"


def _is_canonical(address: str) -> str:
    return (
        f"CASE WHEN {address} IS NULL OR {address} = '' OR regexp_full_match({address}, {_IPV4}) THEN true "
        f"ELSE regexp_full_match({address}, {_IPV6}) AND NOT regexp_matches({address}, {_ODD_IPV6}) END"
    )


def _own_text(meta: int) -> str:
    """SQL: a value of `meta`; only text names anything."""
    return f"CASE WHEN meta_types[{meta}] = 'VARCHAR' THEN nullif(metas[{meta}], '') END"


_META = (
    "['$.tenant', '$.campaign', '$.pool', '$.mtascope_direction', '$.mtascope_seq', '$.mtascope_suppressed', "
    "'$.dkim_domain']"
)
_SIGNER = "'(?:^|;)[ \\t\\r\\n]*d[ \\t]*=[ \\t\\r\\n]*([A-Za-z0-9._-]{1,255})'"
_STATUS = "'$.enhanced_code', '$.enhanced_code.class', '$.enhanced_code.subject', '$.enhanced_code.detail'"
_SAID = f"['$.content', '$.command', '$.code', {_STATUS}]"
_IDS = """['$."Message-ID"', '$."Message-Id"', '$."message-id"']"""

_LOOKED_INTO = f"""
    SELECT * EXCLUDE type, type AS kind,
           split_part(queue, '!', 1) AS scheduled,
           json_extract_string(response, {_SAID}) AS said, json_type(response, {_SAID}) AS said_types,
           json_extract_string(peer_address, ['$.name', '$.addr']) AS peer,
           json_type(peer_address, ['$.name', '$.addr']) AS peer_types,
           json_extract_string(source_address, '$.address') AS source_written,
           json_type(source_address, '$.address') AS source_type,
           json_extract_string(meta, {_META}) AS metas, json_type(meta, {_META}) AS meta_types,
           json_extract_string(headers, {_IDS}) AS ids, lower(headers::VARCHAR) AS all_headers,
           json_extract_string(headers, '$."DKIM-Signature"') AS signature,
           json_type(headers, '$."DKIM-Signature"') AS signature_type
    FROM {{relation}}
"""

_WORKED_OUT = f"""
    SELECT *, kind IN ('Delivery', 'TransientFailure', 'Bounce') AS attempted,
           kind IN ('TransientFailure', 'Bounce') AS failed, meta_types[5] IS NOT NULL AS ours,
           {_instant("event_time", "timestamp")} AS time, {_instant("created_time", "created")} AS created_at,
           {_number("num_attempts", 2**31)} AS attempts, {_number("size", 2**62)} AS bytes,
           CASE WHEN contains(scheduled, '@') THEN split_part(scheduled, '@', 1) ELSE '' END AS scope,
           CASE WHEN contains(scheduled, '@') THEN split_part(scheduled, '@', 2) ELSE scheduled END AS queue_domain,
           coalesce(said[1], '') AS content, trim(said[2], {_BLANKS}) AS command,
           CASE WHEN said_types[4] = 'OBJECT' THEN said[5] || '.' || said[6] || '.' || said[7] END AS enhanced,
           {_host("peer[2]")} AS peer_ip, {_host("source_written")} AS source_ip,
           trim(coalesce(ids[1], ids[2], ids[3]), {_BLANKS}) AS written_id
    FROM looked_into
"""

_STATUS_IS_KNOWN = (
    "CASE WHEN said_types[4] = 'OBJECT' THEN "
    "coalesce(regexp_full_match(enhanced, '[245](\\.(0|[1-9][0-9]{0,2})){2}'), false) ELSE true END"
)
_ONE_ID = (
    "CASE WHEN contains(all_headers, 'message-id') THEN split_part(all_headers, 'message-id', 3) = '' "
    f"AND coalesce(regexp_full_match(written_id, {_BARE_ID}), false) "
    f"AND NOT regexp_full_match(written_id, {_NO_STRING}) "
    "ELSE NOT coalesce(regexp_matches(lower(meta::VARCHAR), 'message[_-]id'), false) END"
)
# Several signatures, or one under a name in other letters: the other reader takes the first.
_ONE_SIGNATURE = (
    "CASE WHEN contains(all_headers, 'dkim-signature') THEN split_part(all_headers, 'dkim-signature', 3) = '' "
    "AND coalesce(signature_type = 'VARCHAR', false) ELSE true END"
)
_PLAIN = " AND ".join(
    (
        f"kind IN ({', '.join(repr(kind) for kind in _TYPES)})",
        "id <> '' AND recipient <> '' AND nodeid <> '' AND time >= 0",
        "coalesce(created_at >= 0, true) AND coalesce(attempts >= 0, true) AND coalesce(bytes >= 0, true)",
        *(f"coalesce(NOT regexp_full_match({name}, {_NO_STRING}), true)" for name in _TEXTS[1:]),
        *(f"coalesce(starts_with({name}::VARCHAR, '{{'), true)" for name in _OBJECTS),
        # The node's talk with itself is ignored, with the reason: by the other reader.
        "coalesce(reception_protocol <> 'LogRecord', true) AND coalesce(queue_domain <> 'null', true)",
        "split_part(scheduled, '@', 3) IS NOT DISTINCT FROM CASE WHEN queue IS NOT NULL THEN '' END",
        *(f"coalesce(NOT ends_with(queue_domain, '{suffix}'), true)" for suffix in _OTHER_QUEUES),
        "response IS NOT NULL",
        _is("said_types[1]", "VARCHAR"), _is("said_types[2]", "VARCHAR"), _is("said_types[3]", "UBIGINT"),
        "coalesce(strlen(said[3]) < 4, true) AND coalesce(regexp_full_match(command, '([!-~]+( [ -~]*)?)?'), true)",
        _is("said_types[4]", "OBJECT"),
        _STATUS_IS_KNOWN,
        *(_is(f"said_types[{part}]", "UBIGINT") for part in (5, 6, 7)),
        # A status that only the text tells, and a failure that met nobody: the other reader knows more.
        "(enhanced IS NOT NULL OR NOT regexp_matches(content, '^[245]\\.[0-9]'))",
        "NOT (failed AND peer_address IS NULL AND delivery_protocol IS NULL)",
        _is("peer_types[1]", "VARCHAR"), _is("peer_types[2]", "VARCHAR"), _is("source_type", "VARCHAR"),
        _is_canonical("peer_ip"), _is_canonical("source_ip"),
        "meta_types[6] IS NULL",
        _ONE_ID,
        _ONE_SIGNATURE,
    )
)  # fmt: skip


def _events(relation: str) -> str:
    """SELECT of what the records of `relation` tell, and whether each is plain.

    A filter in the place of `sure` would be evaluated below the projections, and all that it needs a second time.
    """
    return f"""
    WITH looked_into AS ({_LOOKED_INTO.format(relation=relation)}), worked_out AS ({_WORKED_OUT})
    SELECT n, {_PLAIN} AS sure, {_case("kind", _TYPES)} AS type, time, nodeid AS node,
           CASE WHEN ours THEN 'mtascope' ELSE 'kumomta' END AS mta, id AS queue_id, recipient, 0 AS ordinal,
           created_at AS created, CASE WHEN attempted AND attempts >= 0 THEN attempts + 1 END AS attempt,
           CASE WHEN {_own_text(4)} IN ('inbound', 'internal') THEN metas[4] ELSE 'outbound' END AS direction,
           CASE WHEN kind = 'Expiration' OR (failed AND starts_with(content, '{_LOCAL}')) THEN 'local' ELSE 'remote' END
               AS origin,
           sender, CASE WHEN starts_with(written_id, '<') THEN written_id[2:-2] ELSE written_id END AS message_id,
           CASE WHEN bytes > 0 THEN bytes END AS size, TRY_CAST(said[3] AS USMALLINT) AS code, enhanced,
           content AS text,
           {_case("upper(split_part(command, ' ', 1))", _PHASES, "'unknown'")} AS phase,
           nullif(rtrim(peer[1], '.'), '') AS peer_host, nullif(peer_ip, '') AS peer_ip,
           nullif(egress_source, '') AS source, nullif(source_ip, '') AS source_ip,
           coalesce(nullif(egress_pool, ''), CASE WHEN ours THEN {_own_text(3)} END) AS pool,
           coalesce(nullif(substring(scope, strpos(scope, ':') + 1), ''), {_own_text(1)}) AS tenant,
           coalesce(CASE WHEN contains(scope, ':') THEN nullif(split_part(scope, ':', 1), '') END, {_own_text(2)})
               AS campaign,
           lower(coalesce({_own_text(7)}, nullif(regexp_extract(signature, {_SIGNER}, 1), ''))) AS dkim_domain,
           nullif(tls_protocol_version, '') AS tls_version
    FROM worked_out
    """


COLUMN_READER = ColumnReader(_FIELDS, _events)
"""Reads the everyday records of KumoMTA's log, and of the bundled MTA's."""
