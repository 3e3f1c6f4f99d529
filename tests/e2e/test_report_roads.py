"""Reports over every road of the running suite: by mail to its own MTA, over HTTPS, and dropped into a Maildir."""

from __future__ import annotations

import gzip
import json
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from mtascope.client import ask_socket
from mtascope.settings import DataFolder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

TLS_REPORT = json.dumps(
    {
        "organization-name": "r", "report-id": "t1",
        "date-range": {"start-datetime": "2025-01-01T00:00:00Z", "end-datetime": "2025-01-01T23:59:59Z"},
        "policies": [
            {
                "policy": {"policy-type": "sts", "policy-domain": "example.com"},
                "summary": {"total-successful-session-count": 5, "total-failure-session-count": 0},
            }
        ],
    }
).encode()  # fmt: skip


def report(number: int) -> bytes:
    return (
        f"<feedback><report_metadata><org_name>r</org_name><report_id>{number}</report_id><date_range><begin>1735689600"
        "</begin><end>1735775999</end></date_range></report_metadata><policy_published><domain>example.com</domain>"
        "<p>none</p></policy_published><record><row><source_ip>192.0.2.1</source_ip><count>3</count>"
        "<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>"
        "<identifiers><header_from>example.com</header_from></identifiers></record></feedback>"
    ).encode()


def mail(number: int) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "noreply@r.example", "rua@example.com", "Report"
    message.set_content("a report")
    message.add_attachment(gzip.compress(report(number)), "application", "gzip", filename="r.xml.gz")
    return message


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def until(ready: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come within {seconds} s")


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    """The data directory, the SMTP port and the port for reports. DNS is asked of a port where nobody listens."""
    smtp, https, maildir = free_port(), free_port(), tmp_path / "Maildir"
    for name in ("new", "cur", "tmp"):
        (maildir / name).mkdir(parents=True)
    config = tmp_path / "mtascope.toml"
    config.write_text(
        f'data = "{tmp_path}/data"\n[http]\nport = 0\nmetrics_port = 0\n'
        f'[mta]\nlisten = ["127.0.0.1:{smtp}"]\nrelay_networks = []\nreport_addresses = ["rua@example.com"]\n'
        f'[dmarc]\nnameservers = ["127.0.0.1"]\nnameserver_port = {free_port()}\nhttps = {{ port = {https} }}\n'
        f'[[dmarc.mailboxes]]\nname = "drop"\ntype = "maildir"\npath = "{maildir}"\nrescan_s = 0.5\n'
    )
    words = [sys.executable, "-m", "mtascope", "up", "--config", str(config), "--workers", "1", "--json"]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    assert running.stdout is not None
    try:
        assert running.stdout.readline(), "the suite did not start"
        yield tmp_path, smtp, https
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(40)
        running.stdout.close()


def test_reports_over_every_road_are_stored_once(suite: tuple[Path, int, int]) -> None:
    root, smtp, https = suite
    with smtplib.SMTP("127.0.0.1", smtp, timeout=10) as client:
        client.send_message(mail(1), "bounce@r.example", ["rua@example.com"])
    (root / "Maildir" / "new" / "1.x").write_bytes(mail(2).as_bytes())
    (root / "Maildir" / "new" / "2.x").write_bytes(mail(1).as_bytes())
    posted = httpx.post(
        f"http://127.0.0.1:{https}/",
        content=gzip.compress(TLS_REPORT),
        headers={"content-type": "application/tlsrpt+gzip"},
    )
    assert posted.status_code == 201

    def ask(url: str) -> dict[str, Any]:
        answer: dict[str, Any] = ask_socket(DataFolder(root / "data").owner_socket, url, timeout=30).json()
        return answer

    def mailboxes() -> dict[str, int]:
        return {name: box["mails"] for name, box in ask("/v1/status")["mailboxes"].items()}

    until(lambda: mailboxes() == {"drop": 2, "own-mta": 1, "https": 1}, "every mail")
    advice = ask("/v1/dmarc/advice?domain=example.com&until=2025-01-05T00:00:00Z")
    assert (advice["messages"], advice["days"]) == (6, 1), "two reports, one of them over two roads"
    assert not list((root / "data" / "mta" / "reports" / "new").iterdir())
    assert len(list((root / "Maildir" / ".Processed" / "cur").iterdir())) == 2
