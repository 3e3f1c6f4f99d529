"""`mtascope up` serves, answers the command line through its owner, and ends as it should."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def run(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "mtascope", *words], capture_output=True, timeout=60, check=False)


def until(ready: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds} s")


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path, int]]:
    """The running suite, its data directory and its SMTP port; nothing is delivered, so mail stays in flight."""
    smtp = free_port()
    data = tmp_path / "data"
    config = tmp_path / "mtascope.toml"
    config.write_text(
        f'data = "{data}"\n[http]\nport = 0\nmetrics_port = 0\n[mta]\nlisten = ["127.0.0.1:{smtp}"]\n'
        f'routes = [{{ domain = "*", host = "mx.example", address = "127.0.0.1", port = {free_port()} }}]\n'
        'log_flush_interval = "100ms"\n'
    )
    words = [sys.executable, "-m", "mtascope", "up", "--config", str(config), "--workers", "2", "--json"]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    yield running, data, smtp
    if running.poll() is None:
        running.kill()
        running.wait()
    if running.stdout is not None:
        running.stdout.close()


def urls(running: subprocess.Popen[bytes]) -> dict[str, str]:
    assert running.stdout is not None
    found: dict[str, str] = json.loads(running.stdout.readline())["urls"]
    return found


def send(port: int, recipient: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail("news@sender.example", [recipient], b"Subject: hello\r\n\r\nhello\r\n")


def test_a_mail_sent_to_the_suite_is_counted_by_its_command_line_api_and_metrics(
    suite: tuple[subprocess.Popen[bytes], Path, int],
) -> None:
    running, data, smtp = suite
    where = urls(running)
    token = (data / "run" / "console.token").read_text()
    send(smtp, "someone@gmail.com")

    def counted() -> Any:
        rows = json.loads(run("rates", "--data", str(data), "--json").stdout)
        return rows if rows and rows[0]["injected"] == 1 else None

    [row] = until(counted, "the mail in the rates")
    assert (row["provider"], row["in_flight"]) == ("gmail", 1)
    assert httpx.get(f"{where['api']}/rates").status_code == 401
    answer = httpx.get(f"{where['api']}/rates", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()[0]["provider"] == "gmail"
    assert 'mtascope_mta_messages_received_total{node="mta-' in httpx.get(where["metrics"]).text
    assert json.loads(run("status", "--data", str(data), "--json").stdout)["store"]["identity_holds"] is True
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == 0
    # The owner is gone: the same question now opens the store itself, and has the same answer.
    assert json.loads(run("rates", "--data", str(data), "--json").stdout)[0]["injected"] == 1
    assert run("status", "--data", str(data)).returncode == 3


def test_killing_the_front_door_ends_its_children_too(suite: tuple[subprocess.Popen[bytes], Path, int]) -> None:
    running, _, _ = suite
    urls(running)
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) == 3
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert (len(gone), alive) == (3, [])


def test_ingesting_a_file_twice_stores_it_once_with_and_without_an_owner(tmp_path: Path) -> None:
    log = tmp_path / "log"
    record = {
        "type": "Reception", "id": "0" * 32, "sender": "a@sender.example", "recipient": "b@gmail.com",
        "queue": "gmail.com", "site": "", "size": 10, "peer_address": None, "timestamp": 1_780_000_000,
        "response": {"code": 250, "enhanced_code": None, "content": "", "command": None},
        "event_time": "2026-05-28T20:26:40.5Z", "created": 1_780_000_000, "num_attempts": 0,
        "bounce_classification": "Uncategorized", "meta": {}, "headers": {}, "nodeid": "n",
    }  # fmt: skip
    log.write_text(json.dumps(record) + "\nthis is no record\n")
    first = run("ingest", str(log), "--data", str(tmp_path / "data"), "--json")
    again = run("ingest", str(log), "--data", str(tmp_path / "data"), "--json")
    assert (first.returncode, again.returncode) == (1, 0)
    assert {name: json.loads(first.stdout)[name] for name in ("received", "stored", "duplicates", "quarantined")} == {
        "received": 2, "stored": 1, "duplicates": 0, "quarantined": 1}  # fmt: skip
    assert json.loads(again.stdout)["duplicates"] == 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("serve", "--config", "{bad}"), 2, "mta.retry_intervall: no such setting"),
        (("serve", "--config", "/no/such/file"), 2, "/no/such/file"),
        (("ingest", "/no/such/log"), 3, "/no/such/log"),
        (("status", "--data", "/no/such/data"), 3, "/no/such/data"),
        (("rates", "--since", "yesterday"), 2, "yesterday"),
        (("rates", "--by", "colour"), 2, "colour"),
        (("demo", "--scenario", "nonsense"), 2, "nonsense"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_what_is_wrong_is_named_and_the_exit_code_says_whose_fault_it_is(
    words: tuple[str, ...], code: int, told: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[mta]\nretry_intervall = 3\n")
    ended = run(*(word.format(bad=bad) for word in words))
    assert ended.returncode == code, ended.stderr
    assert told in ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()
