"""Notifications arrive at real receivers: once each, signed, in order, and after every failure again."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from aiosmtpd.controller import Controller

from analytics.incidents import journal
from analytics.incidents.incident import Incident, Signal
from analytics.incidents.kinds import Kind
from exporter.alerting.channels import channels_of
from exporter.alerting.courier import Courier
from exporter.alerting.settings import AlertingSettings
from mta.events.errors import SettingsError
from mta.events.instants import DAY, HOUR

NOW = time.time_ns() // 1000
SECRET = b"not a real secret"


def incident(key: str = "0123456789abcdef", told_at: int | None = NOW) -> Incident:
    signal = Signal(Kind.BLOCKS, "gmail", "tenant", "acme", NOW - HOUR, NOW - HOUR, None, 0.4, 0.01, 40, 100)
    return Incident(
        key, Kind.BLOCKS, "gmail", {"tenant": "acme"}, NOW - HOUR, NOW - HOUR, None, 0.4, 0.01, 40, 100,
        advice=["Stop the list."], signals=[signal], told_at=told_at,
    )  # fmt: skip


class Receiver:
    """An HTTP server that keeps what it is sent and answers what the test wants."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((dict(self.headers.items()), body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def courier(store, receiver, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    settings = AlertingSettings.model_validate({"webhook": [{"url": receiver.url, "secret_file": str(secret)}]})
    return Courier(store, channels_of(settings))


def write(store, change="opened", at=0, one=None, channel="webhook-0"):
    with store.writing() as con:
        journal.notify(con, one or incident(told_at=NOW + at), change, (channel,), store.clock() - 1000 + at)


def test_a_webhook_is_told_once_and_can_prove_who_told_it(store, courier, receiver):
    write(store)
    assert (courier.run_once(), courier.run_once()) == (1, 0)
    ((headers, body),) = receiver.requests
    at, _, signature = headers["X-Mtascope-Signature"].removeprefix("t=").partition(",v1=")
    assert hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest() == signature
    told = json.loads(body)
    assert (told["change"], told["incident"]["provider"]) == ("opened", "gmail")
    assert "40.0% blocked instead of 1.0%" in told["summary"]


def test_a_receiver_that_fails_is_asked_again_and_the_end_waits_for_the_beginning(store, courier, receiver, clock):
    write(store)
    write(store, "closed", at=1)
    receiver.status = 503
    assert courier.run_once() == 0
    assert courier.run_once() == 0
    assert courier.health.results["webhook-0", "failed"] == 1
    assert courier.health.waiting == {"webhook-0": 2}
    clock.now += 10_000_000
    receiver.status = 200
    assert (courier.run_once(), courier.run_once()) == (1, 1)
    assert [json.loads(body)["change"] for _, body in receiver.requests] == ["opened", "opened", "closed"]
    deliveries = [headers["X-Mtascope-Delivery"] for headers, _ in receiver.requests]
    assert deliveries[0] == deliveries[1] != deliveries[2]


def test_what_nobody_takes_in_three_days_or_has_no_channel_any_more_is_dropped(store, courier, receiver, clock):
    receiver.status = 500
    write(store)
    write(store, channel="pager")
    courier.run_once()
    assert courier.health.results["pager", "dropped"] == 1
    clock.now += 4 * DAY
    courier.run_once()
    assert courier.health.results["webhook-0", "dropped"] == 1
    assert courier.health.waiting == {"webhook-0": 0}


def test_a_restart_forgets_no_notification(open_store, receiver):
    write(open_store())
    settings = AlertingSettings.model_validate({"webhook": [{"url": receiver.url}]})
    assert Courier(open_store(), channels_of(settings)).run_once() == 1


class Mails:
    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802
        self.received.append(envelope.content)
        return "250 OK"


def test_mails_of_one_incident_are_one_thread(store):
    mails = Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=0)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        controller.port = probe.getsockname()[1]
    controller.start()
    try:
        mail = {"port": controller.port, "sender": "watch@example.org", "recipients": ["ops@example.org"]}
        courier = Courier(store, channels_of(AlertingSettings.model_validate({"mail": {"host": "127.0.0.1", **mail}})))
        write(store, channel="mail")
        write(store, "closed", at=1, channel="mail")
        courier.run_once()
        courier.run_once()
    finally:
        controller.stop()
    opened, closed = (content.decode().replace("\r\n ", " ") for content in mails.received)
    assert "Subject: [mtascope] opened: gmail, tenant acme: 40.0% blocked instead of 1.0%" in opened.replace(
        "\r\n ", " "
    )
    assert "Stop the list." in opened
    assert "Message-ID: <incident-0123456789abcdef@example.org>" in opened
    assert "In-Reply-To: <incident-0123456789abcdef@example.org>" in closed


def test_a_secret_that_cannot_be_read_is_named(tmp_path):
    hook = {"url": "http://127.0.0.1:1/", "secret_file": str(tmp_path / "none")}
    with pytest.raises(SettingsError, match="none"):
        channels_of(AlertingSettings.model_validate({"webhook": [hook]}))


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("no Alertmanager here")
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [f"--config.file={config}", f"--storage.path={tmp_path}", f"--web.listen-address=127.0.0.1:{port}"]
    running = subprocess.Popen([program, *words, "--cluster.listen-address="], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/-/ready").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        running.terminate()
        running.wait(10)


@pytest.mark.peer
def test_a_real_alertmanager_fires_and_resolves(store, alertmanager):
    def alerts():
        return httpx.get(f"{alertmanager}/api/v2/alerts", params={"active": "true"}).json()

    with store.writing() as con:
        journal.keep(con, [incident()])
    courier = Courier(store, channels_of(AlertingSettings.model_validate({"alertmanager": [alertmanager]})))
    write(store, channel="alertmanager-0")
    assert courier.run_once() == 1
    (alert,) = alerts()
    labels = {"alertname": "MtascopeIncident", "kind": "block_surge", "provider": "gmail", "tenant": "acme"}
    assert alert["labels"] == {**labels, "severity": "critical", "incident": "0123456789abcdef"}
    assert "Stop the list." in alert["annotations"]["description"]
    write(store, "closed", at=1, channel="alertmanager-0")
    courier.run_once()
    deadline = time.monotonic() + 10
    while alerts() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert alerts() == []
