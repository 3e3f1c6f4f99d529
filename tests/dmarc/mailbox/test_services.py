"""Mailboxes behind REST, against a server of our own that speaks the documented shapes; and tokens of every grant."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dmarc.errors import MailboxError
from dmarc.mailbox.gmail import GmailMailbox
from dmarc.mailbox.graph import GraphMailbox
from dmarc.mailbox.oauth import TokenFile, TokenGrant
from dmarc.settings import GmailSettings, GraphSettings, OAuthSettings
from mta.events.instants import SECOND

LIMIT = 10_000


class Service(ThreadingHTTPServer):
    """A mailbox with three mails at both services' addresses, and a token endpoint."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.inbox = {f"m{number}": f"Subject: {number}\r\n\r\nx\r\n".encode() for number in (1, 2, 3)}
        self.done: dict[str, str] = {}
        self.made: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.failing = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, *_: object) -> None: ...

    def _answer(self, content: Any, status: int = 200) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        service, path = self.server, urlsplit(self.path)
        if self.headers["Authorization"] != "Bearer good":
            self._answer({"error": "no"}, 401)
        elif service.failing:
            self._answer({}, 429)
        elif path.path.endswith("/$value"):
            self._answer(service.inbox[path.path.split("/")[-2]])
        elif path.path == "/users/rua@example.com/mailFolders/inbox/messages":
            assert parse_qs(path.query)["$orderby"] == ["receivedDateTime asc"]
            self._answer({"value": [{"id": name} for name in list(service.inbox)[:2]]})
        elif path.path == "/users/rua@example.com/mailFolders":
            self._answer({"value": []})
        elif path.path == "/labels":
            self._answer({"labels": [{"id": "INBOX", "name": "INBOX"}]})
        elif path.path == "/messages":
            assert parse_qs(path.query)["labelIds"] == ["INBOX"]
            self._answer({"messages": [{"id": name} for name in reversed(list(service.inbox)[-2:])]})
        else:
            raw = service.inbox[path.path.rpartition("/")[2]]
            self._answer({"raw": base64.urlsafe_b64encode(raw).decode().rstrip("=")})

    def do_POST(self) -> None:
        service = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            service.forms.append(parse_qs(body.decode()))
            self._answer({"access_token": "good", "expires_in": 3600})
            return
        content = json.loads(body)
        if self.path.endswith("/move"):
            name = self.path.split("/")[-2]
            service.done[name] = content["destinationId"]
            del service.inbox[name]
            self._answer({"id": "moved"}, 201)
        elif self.path.endswith("/mailFolders") or self.path == "/labels":
            service.made.append(content.get("displayName") or content["name"])
            self._answer({"id": "processed-id"}, 201)
        else:
            assert content["removeLabelIds"] == ["INBOX"]
            for name in content["ids"]:
                service.done[name] = content["addLabelIds"][0]
                del service.inbox[name]
            self._answer(b"", 204)


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def token(tmp_path) -> TokenFile:
    (tmp_path / "token").write_text("good\n")
    return TokenFile(tmp_path / "token")


@pytest.fixture(params=["graph", "gmail"])
def mailbox(request, service, token, tmp_path):
    oauth = OAuthSettings(token_file=tmp_path / "token")
    if request.param == "graph":
        settings = GraphSettings(name="x", type="graph", mailbox="rua@example.com", oauth=oauth, base_url=service.url)
        opened = GraphMailbox(settings, token, LIMIT)
    else:
        opened = GmailMailbox(GmailSettings(name="x", type="gmail", oauth=oauth, base_url=service.url), token, LIMIT)
    yield opened
    opened.close()


def test_every_mail_is_read_once_and_put_away_behind_the_commit(mailbox, service):
    read: dict[str, bytes] = {}
    for portion in mailbox.letters():
        assert not set(service.done) & {letter.key for letter in portion}
        read |= {letter.key: letter.data for letter in portion}
        mailbox.put_away(portion)
    assert read == {f"m{number}": f"Subject: {number}\r\n\r\nx\r\n".encode() for number in (1, 2, 3)}
    assert service.done == dict.fromkeys(("m1", "m2", "m3"), "processed-id")
    assert service.made == ["Processed"], "the folder is made once"


def test_what_is_not_put_away_ends_the_round(mailbox):
    assert sum(len(portion) for portion in mailbox.letters()) == 2


def test_of_a_huge_mail_no_more_is_read_than_shows_it(mailbox, service):
    service.inbox = {"m1": b"x" * 50_000}
    ((letter,),) = list(mailbox.letters())
    assert LIMIT < len(letter.data) <= LIMIT + 2_000


def test_a_service_that_wants_to_be_left_alone_is_a_temporary_error(mailbox, service):
    service.failing = 1
    with pytest.raises(MailboxError, match="try again in 7 s") as caught:
        list(mailbox.letters())
    assert caught.value.temporary


def test_a_refused_token_is_an_error_that_does_not_tell_it(service, tmp_path):
    (tmp_path / "wrong").write_text("hunter2")
    settings = GmailSettings(
        name="x", type="gmail", oauth=OAuthSettings(token_file=tmp_path / "wrong"), base_url=service.url
    )
    with pytest.raises(MailboxError, match="401") as caught:
        list(GmailMailbox(settings, TokenFile(tmp_path / "wrong"), LIMIT).letters())
    assert "hunter2" not in str(caught.value)


def test_grants_ask_once_and_again_when_the_token_runs_out(service, tmp_path):
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "refresh").write_text("r3fresh")
    now = [0]
    url = f"{service.url}/token"
    for more in ({}, {"refresh_token_file": tmp_path / "refresh"}):
        settings = OAuthSettings(
            token_url=url, client_id="c", client_secret_file=tmp_path / "secret", scope="s", **more
        )
        grant = TokenGrant(settings, lambda: now[0])
        assert [grant.token(), grant.token()] == ["good", "good"]
        now[0] += 3_590 * SECOND
        grant.token()
    assert [form["grant_type"][0] for form in service.forms] == ["client_credentials"] * 2 + ["refresh_token"] * 2
    assert service.forms[-1]["refresh_token"] == ["r3fresh"]


def test_a_service_account_signs_for_a_mailbox(service, tmp_path):
    key = generate_private_key(65_537, 2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (tmp_path / "account").write_text(json.dumps({"client_email": "robot@p.example", "private_key": pem}))
    settings = OAuthSettings(
        token_url=f"{service.url}/token",
        scope="mail",
        service_account_file=tmp_path / "account",
        subject="rua@example.com",
    )
    assert TokenGrant(settings, lambda: 1_000 * SECOND).token() == "good"
    claims = service.forms[0]["assertion"][0].split(".")[1]
    told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (told["iss"], told["sub"], told["exp"] - told["iat"]) == ("robot@p.example", "rua@example.com", 3_600)
