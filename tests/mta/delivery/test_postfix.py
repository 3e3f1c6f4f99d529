"""A real Postfix as the next hop: over checked TLS what arrives is what was accepted, and its signature holds."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import tempfile
from base64 import b64encode
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

HOST = "mx.peer.example"
KEY = "-----BEGIN PRIVATE KEY-----"
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
"""
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = {host}
mydestination =
maillog_file_prefixes = /tmp
maillog_file = {folder}/log
local_header_rewrite_clients =
alias_maps =
local_recipient_maps =
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/chain.pem
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
"""

pytestmark = [pytest.mark.e2e, pytest.mark.peer]


@pytest.fixture
def folder():
    """A folder that Postfix's users can enter, as those of tests cannot be."""
    with tempfile.TemporaryDirectory(prefix="mtascope-postfix-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
async def postfix(folder, authority):
    """A Postfix that keeps mail for example.com in a folder; gives its port and the folder."""
    program = shutil.which("postfix", path="/usr/sbin:/usr/local/sbin")
    if program is None or os.geteuid() != 0:
        pytest.skip("postfix is not installed, or this is not root")
    nobody = pwd.getpwnam("nobody")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, owner in (("etc", "root"), ("queue", "root"), ("data", "postfix"), ("mail", "nobody")):
        (folder / name).mkdir(mode=0o755)
        shutil.chown(folder / name, owner)
    authority.issue(HOST)
    certificates, _, key = (authority.folder / f"{HOST}-1.pem").read_text().rpartition(KEY)
    (folder / "chain.pem").write_text(f"{KEY}{key}{certificates}")
    settings = MAIN.format(folder=folder, host=HOST, uid=nobody.pw_uid, gid=nobody.pw_gid)
    (folder / "etc/main.cf").write_text(settings)
    (folder / "etc/master.cf").write_text(MASTER.format(port=port))
    start = await asyncio.create_subprocess_exec(program, "-c", folder / "etc", "start", stderr=-1, stdout=-1)
    await start.communicate()
    assert start.returncode == 0, (folder / "log").read_text()
    yield port, folder / "mail/box/new"
    os.kill(int((folder / "queue/pid/master.pid").read_text()), signal.SIGTERM)
    await asyncio.sleep(0.5)


async def test_what_arrives_over_checked_tls_is_what_was_accepted_and_its_signature_holds(
    postfix, start_worker, authority, tmp_path
):
    port, box = postfix
    key = rsa.generate_private_key(65537, 2048)
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(*pem))
    der = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + b64encode(key.public_key().public_bytes(*der))
    worker = await start_worker(
        routes=[{"domain": "*", "host": HOST, "address": "127.0.0.1", "port": port, "tls": "required"}],
        dkim=[{"domain": "example.org", "selector": "s", "key": tmp_path / "key.pem"}],
        tls_authorities=authority.file,
    )
    body = b"From: a@example.org\r\nSubject: dots\r\n\r\n.one\r\n..two\r\n.\r\n" + "Grüße\r\n".encode() * 500
    for number in range(5):
        await worker.send(f"u{number}@example.com", body=body, mail_options=["BODY=8BITMIME"])
    records = await worker.until_type("Delivery", 5, 20)
    assert all(each["meta"]["mtascope_tls_verified"] for each in records)
    async with asyncio.timeout(10):
        while not box.exists() or len(os.listdir(box)) < 5:  # noqa: ASYNC110, PTH208 - Postfix tells nobody
            await asyncio.sleep(0.05)
    for path in box.iterdir():
        arrived = path.read_bytes().replace(b"\n", b"\r\n")
        assert arrived.endswith(body)
        assert dkim.DKIM(arrived).verify(dnsfunc=lambda *_, **__: record)
