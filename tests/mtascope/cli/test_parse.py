"""`mtascope parse`: promised keys, exit codes, what is said about refused lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from mtascope.cli.parse import command

GOLDEN = Path(__file__).parents[2] / "data" / "kumomta"
KEYS = [
    "type",
    "time",
    "queue_id",
    "message_id",
    "sender",
    "recipient",
    "recipient_domain",
    "provider",
    "code",
    "enhanced",
    "text",
    "bounce_class",
    "bounce_group",
    "peer_host",
    "peer_ip",
    "attempt",
    "delay_s",
    "size",
    "source",
    "pool",
    "tenant",
    "campaign",
    "node",
    "tls_version",
]


def record(name: str) -> bytes:
    return json.dumps(json.loads((GOLDEN / f"{name}.json").read_text())["record"]).encode() + b"\n"


def parse(*arguments: str):
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


@pytest.fixture
def log(tmp_path):
    def write(content: bytes) -> str:
        path = tmp_path / "log"
        path.write_bytes(content)
        return str(path)

    return write


def test_an_event_has_exactly_the_promised_keys_in_their_order(log):
    code, (event,), _ = parse("--format", "kumomta", log(record("bounce-remote")))
    assert code == 0
    assert list(event) == KEYS
    assert (event["type"], event["recipient"], event["code"]) == ("bounce", "ann@mailbox.example", 550)
    assert (event["enhanced"], event["attempt"], event["delay_s"]) == ("5.1.1", 1, 2.320526)
    assert event["time"] == "2025-09-12T11:08:01.440526Z"


def test_a_failure_is_classed_and_a_delivery_is_not(log):
    _, (bounce, delivery), _ = parse(log(record("bounce-remote") + record("delivery")))
    assert (bounce["bounce_class"], bounce["bounce_group"]) == ("bad_mailbox", "recipient")
    assert (delivery["bounce_class"], delivery["bounce_group"]) == (None, None)


def test_the_provider_comes_from_the_domain_or_the_mx_that_answered(log):
    gmail = record("delivery").replace(b"ann@mailbox.example", b"ann@gmail.com")
    business = record("delivery").replace(b"mx1.mailbox.example.", b"acme-example.mail.protection.outlook.com.")
    _, events, _ = parse(log(gmail + business))
    assert [event["provider"] for event in events] == ["gmail", "microsoft-365"]


def test_what_is_not_known_is_null(log):
    sparse = {"type": "Rejection", "recipient": "", "timestamp": 1757675281}
    _, (event,), _ = parse(log(json.dumps(sparse).encode() + b"\n"))
    known = {"type": "rejection", "time": "2025-09-12T11:08:01.000000Z"}
    assert event == dict.fromkeys(KEYS) | known


def test_refused_lines_are_named_and_the_exit_code_says_so(log):
    path = log(record("delivery") + b"garbage\n" + record("unknown-type") + record("log-hook"))
    code, events, messages = parse(path)
    assert (code, len(events)) == (1, 1)
    assert f"{path}: byte {len(record('delivery'))}: malformed: not JSON" in messages
    assert "unknown-type: type: unknown record type 'Vaporised'" in messages
    assert "4 records: 1 events, 1 ignored (1 log-hook), 2 refused" in messages


def test_compressed_logs_are_read_without_being_told(log):
    code, events, _ = parse(log(zstandard.ZstdCompressor().compress(record("delivery") * 3)))
    assert (code, len(events)) == (0, 3)


def test_every_event_of_a_batch_is_printed(log):
    _, events, _ = parse(log(record("delivery-batch")))
    assert [event["recipient"] for event in events] == ["ann@mailbox.example", "bob@mailbox.example"]


@pytest.mark.e2e
def test_standard_input_is_read_and_a_reader_that_has_seen_enough_is_no_error():
    source = record("delivery") * 20_000
    run = [sys.executable, "-c", "from mtascope.cli import main; main()", "parse", "--format", "kumomta", "-"]
    done = subprocess.run(run, input=source[: 100 * len(record("delivery"))], capture_output=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 100)
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        _, messages = process.communicate(source)
    assert b"Traceback" not in messages


@pytest.mark.e2e
def test_a_missing_file_is_named_and_exits_with_3():
    run = [sys.executable, "-c", "from mtascope.cli import main; main()", "parse", "/nowhere/log"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "/nowhere/log: no such file or folder" in done.stderr
