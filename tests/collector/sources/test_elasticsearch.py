"""The Elasticsearch face: shippers find what they ask for, and each action gets its item once all are durable."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.sources.elasticsearch import parse_bulk


def bulk(data: bytes, operation: str = "create") -> bytes:
    """Each line of a log as the `message` of an event."""
    pairs = (
        (json.dumps({operation: {"_index": "mail"}}), json.dumps({"message": line.decode()}))
        for line in data.splitlines()
    )
    return "".join(f"{action}\n{source}\n" for action, source in pairs).encode()


@pytest.fixture
async def client():
    async with httpx.AsyncClient() as client:
        yield client


HANDSHAKE = [
    ("GET", "/", 200),
    ("GET", "/_license?human=false", 200),
    ("GET", "/_ilm/policy/filebeat", 200),
    ("PUT", "/_ilm/policy/filebeat", 200),
    ("HEAD", "/_index_template/filebeat-9.2.0", 200),
    ("GET", "/_index_template/filebeat-9.2.0", 200),
    ("PUT", "/_index_template/filebeat-9.2.0", 200),
    ("GET", "/_data_stream/filebeat-9.2.0", 200),
    ("PUT", "/_data_stream/filebeat-9.2.0", 200),
    ("GET", "/_ingest/pipeline/filebeat-9.2.0-system", 200),
    ("HEAD", "/", 200),
    ("HEAD", "/mail", 200),
    ("PUT", "/mail", 200),
    ("GET", "/_cluster/health", 200),
    ("GET", "/_cat/health", 200),
    ("GET", "/_nodes/http", 200),
    ("GET", "/_xpack", 200),
    ("POST", "/mail/_search", 405),
]


@pytest.mark.parametrize("prefix", ["", "/ingest/tenant-a"])
async def test_everything_that_shippers_ask_before_they_send_is_answered(open_roads, client, prefix):
    roads = await open_roads(elasticsearch={"version": "9.5.1"})
    for method, path, status in HANDSHAKE:
        answer = await client.request(method, roads.url("elasticsearch") + prefix + path)
        assert (path, answer.status_code) == (path, status)
        assert answer.headers["x-elastic-product"] == "Elasticsearch"
    if not prefix:
        root = (await client.get(roads.url("elasticsearch"))).json()
        assert root["version"]["number"] == "9.5.1"
    licence = (await client.get(f"{roads.url('elasticsearch')}{prefix}/_license")).json()["license"]
    assert (licence["status"], licence["type"]) == ("active", "basic")


@pytest.mark.parametrize(
    "path", ["/_bulk?filter_path=errors,items.*.error,items.*.status", "/mail/_bulk", "/a/b/_bulk"]
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_batch_is_answered_item_by_item(open_roads, client, records, path, method, encoding):
    roads = await open_roads(elasticsearch={})
    body = bulk(records(3))
    content_type = "application/vnd.elasticsearch+x-ndjson; compatible-with=9"
    answer = await client.request(
        method,
        roads.url("elasticsearch") + path,
        content=gzip.compress(body) if encoding == "gzip" else body,
        headers={"Content-Encoding": encoding, "Content-Type": content_type},
    )
    assert answer.status_code == 200
    assert answer.json()["errors"] is False
    assert answer.json()["items"] == [{"create": {"status": 201}}] * 3
    assert len(roads.recipients) == 3


MERGED = {"agent": {"type": "filebeat"}, "ecs": {"version": "8"}, "host": {"name": "relay-1"}, "input": {"type": "log"}}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda line: {"message": line} | MERGED,
        lambda line: json.loads(line) | MERGED,
        lambda line: {"kumomta": json.loads(line)} | MERGED,
        lambda line: {"log": line, "@timestamp": "2026-01-01T00:00:00Z"},
        lambda line: {"event": {"original": line}, "message": "parsed", "@version": "1"},
        lambda line: {"message": line, "file": "/var/log/kumo", "host": "relay-1", "source_type": "file"},
        lambda line: {"body": line, "attributes": {"log.file.path": "/var/log/kumo"}},
        lambda line: {"body": json.loads(line)},
        lambda line: {"rawmsg": line, "fromhost": "relay-1"},
    ],
    ids=["Filebeat message", "keys under root", "nested target", "Fluent Bit", "Logstash", "Vector", "OTel text",
         "OTel object", "rsyslog"],
)  # fmt: skip
async def test_the_same_fact_is_one_event_however_a_shipper_wraps_it(open_roads, client, records, wrap):
    roads = await open_roads(elasticsearch={}, http={})
    await client.post(roads.url("http") + "/v1/records", content=records(3))
    sources = (json.dumps(wrap(line.decode())) for line in records(3).splitlines())
    body = "".join(f'{{"create":{{}}}}\n{source}\n' for source in sources)
    assert (await client.post(roads.url("elasticsearch") + "/_bulk", content=body)).json()["errors"] is False
    receipt = roads.drain().receipt
    assert (receipt.stored, receipt.duplicates, receipt.quarantined) == (3, 3, 0)


async def test_every_operation_gets_its_own_item(open_roads, client, records):
    one, two, three = (json.dumps({"message": line.decode()}) for line in records(3).splitlines())
    body = (
        f'{{"index":{{"_id":"a"}}}}\n{one}\n{{"delete":{{"_id":"b"}}}}\n'
        f'{{"update":{{"_id":"c"}}}}\n{{"doc":{two}}}\n\n{{"create":{{}}}}\n{three}'
    )
    roads = await open_roads(elasticsearch={})
    answer = (await client.post(roads.url("elasticsearch") + "/_bulk", content=body)).json()
    assert answer["items"] == [
        {"index": {"status": 201, "_id": "a"}},
        {"delete": {"status": 404, "_id": "b", "result": "not_found"}},
        {"update": {"status": 200, "_id": "c"}},
        {"create": {"status": 201}},
    ]
    assert len(roads.recipients) == 3


@pytest.mark.parametrize(
    "body",
    [b"no action\n{}\n", b'{"create":{}}\n', b'{"frobnicate":{}}\n{}\n', b"[]\n", b'{"create":5}\n{}\n', b"{}\n"],
)
async def test_a_body_without_sense_is_refused_whole(open_roads, client, body):
    roads = await open_roads(elasticsearch={})
    answer = await client.post(roads.url("elasticsearch") + "/_bulk", content=body)
    assert answer.status_code == 400
    assert "line 1" in answer.json()["error"]
    assert roads.drain().receipt.received == 0


async def test_a_source_that_cannot_be_read_is_accepted_and_quarantined(open_roads, client):
    roads = await open_roads(elasticsearch={}, shared={"max_line_bytes": 4096})
    body = b'{"create":{}}\n{broken\n{"create":{}}\n{"message":"%s"}\n' % (b"x" * 100_000)
    answer = await client.post(roads.url("elasticsearch") + "/_bulk", content=body)
    assert [item["create"]["status"] for item in answer.json()["items"]] == [201, 201]
    assert roads.drain().receipt.quarantined == 2


@given(st.lists(st.sampled_from(["create", "index", "update", "delete"]), max_size=20))
def test_there_is_one_item_for_each_action_in_order(operations):
    body = b"".join(
        b'{"%s":{}}\n' % operation.encode() + (b"" if operation == "delete" else b'{"message":"x"}\n')
        for operation in operations
    )
    found = parse_bulk(body, 100)
    assert [next(iter(item)) for item in json.loads(found.answer(1))["items"]] == operations
    assert len(found.events) == len([one for one in operations if one != "delete"])


async def test_overload_and_oversize_are_told_as_elasticsearch_tells_them(open_roads, client, records):
    roads = await open_roads(elasticsearch={"max_body_bytes": 500_000, "landing_bytes": 1 << 20})
    url, body = roads.url("elasticsearch") + "/_bulk", bulk(records(400))
    too_large = await client.post(url, content=bulk(records(1000)))
    assert too_large.status_code == 413
    for _ in range(10):
        status = (await client.post(url, content=body)).status_code
        if status != 200:
            break
    assert status == 429


@pytest.mark.parametrize("scheme", ["ApiKey aWQ6a2V5", "Bearer key", "Basic ZWxhc3RpYzprZXk="])
async def test_beats_ways_of_authenticating_carry_a_token(open_roads, client, scheme):
    roads = await open_roads(elasticsearch={"tokens": ["key"]})
    assert (await client.get(roads.url("elasticsearch"))).status_code == 401
    answer = await client.get(roads.url("elasticsearch"), headers={"Authorization": scheme})
    assert answer.status_code == 200


# --- clients of other projects ------------------------------------------------------------------------------


async def test_the_official_client_is_served(open_roads, records):
    elasticsearch = pytest.importorskip("elasticsearch")
    from elasticsearch import helpers

    roads = await open_roads(elasticsearch={"tokens": ["secret"]})

    def ship() -> tuple[int, list]:
        with elasticsearch.Elasticsearch(roads.url("elasticsearch"), basic_auth=("mail", "secret")) as client:
            assert client.info()["tagline"]
            assert client.ping()
            actions = ({"_index": "mail", "_source": {"message": line.decode()}} for line in records(30).splitlines())
            done = helpers.bulk(client, actions, chunk_size=7)
            client.index(index="mail", document={"message": records(1, start=30).decode().strip()})
            return done

    assert await asyncio.to_thread(ship) == (30, [])
    assert len(roads.recipients) == 31


RSYSLOG = """
module(load="imfile" mode="polling" pollingInterval="1")
module(load="omelasticsearch")
global(workDirectory="{work}")
template(name="event" type="list") {{
  constant(value="{{") property(name="msg" outname="message" format="jsonf")
  constant(value=",") property(name="hostname" outname="host" format="jsonf") constant(value="}}")
}}
ruleset(name="ship") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" template="event" bulkmode="on"
         searchIndex="mail" searchType="" action.resumeRetryCount="-1" queue.type="LinkedList")
}}
input(type="imfile" File="{log}" Tag="kumo" ruleset="ship" reopenOnTruncate="on")
"""


@pytest.mark.e2e
@pytest.mark.peer
@pytest.mark.skipif(
    not (shutil.which("rsyslogd") and list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so"))),
    reason="needs rsyslog and rsyslog-elasticsearch",
)
async def test_rsyslog_omelasticsearch_is_served(open_roads, records, tmp_path):
    roads = await open_roads(elasticsearch={})
    log, config = tmp_path / "kumo.log", tmp_path / "rsyslog.conf"
    log.write_bytes(records(200))
    config.write_text(RSYSLOG.format(work=tmp_path, port=roads.at("elasticsearch")[1], log=log))
    process = await asyncio.create_subprocess_exec(
        "rsyslogd", "-n", "-f", str(config), "-i", str(tmp_path / "pid"), stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while len(roads.recipients) < 200:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    finally:
        process.terminate()
        await process.communicate()
    assert sorted(roads.recipients) == sorted(f"user{n}@mailbox.example" for n in range(200))
