"""Programs of other projects send through a worker."""

import asyncio
import shutil
import sys
from pathlib import Path

import httpx
import orjson
import pytest
from aiosmtpd.smtp import SMTP

ROOT = Path(__file__).resolve().parents[2]


class Sink:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append((envelope.mail_from, envelope.rcpt_tos[0], envelope.content))
        return "250 2.0.0 Taken"


def program(name):
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


async def call(*command, stdin=None):
    process = await asyncio.create_subprocess_exec(*map(str, command), stdin=-1, stdout=-1, stderr=-2)
    out, _ = await asyncio.wait_for(process.communicate(stdin), 30)
    return process.returncode, out.decode()


@pytest.fixture
async def mta(tmp_path):
    """A worker process that delivers to a sink: its port, the sink, its control socket."""
    sink = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(sink, hostname="sink", loop=loop), "127.0.0.1", 0)
    config = tmp_path / "mta.toml"
    config.write_text(
        "[mta]\nmin_free_bytes = 0\n[[mta.routes]]\n"
        f'domain = "*"\nhost = "mx.sink.example"\naddress = "127.0.0.1"\nport = {server.sockets[0].getsockname()[1]}\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from mtascope.cli import main; main()"),
        *("mta", "--data", str(tmp_path / "d"), "--config", str(config), "--listen", "127.0.0.1:0", "--json"),
        cwd=ROOT,
        stdout=-1,
        stderr=-3,
    )
    said = orjson.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    yield said["smtp"][0][1], sink, said["control"]
    process.terminate()
    assert await process.wait() == 0
    server.close()


async def arrived(sink, number):
    for _ in range(200):
        if len(sink.mails) >= number:
            return sink.mails
        await asyncio.sleep(0.05)
    raise AssertionError(f"{len(sink.mails)} of {number} mails arrived")


@pytest.mark.peer
@pytest.mark.e2e
async def test_postfixs_smtp_source_sends_through_it(mta):
    port, sink, _ = mta
    options = ["-s", "10", "-m", "300", "-l", "4096", "-f", "a@example.org", "-t", "u@example.com"]
    code, out = await call(program("smtp-source"), *options, f"127.0.0.1:{port}")
    assert code == 0, out
    mails = await arrived(sink, 300)
    assert {mail[:2] for mail in mails} == {("a@example.org", "u@example.com")}


@pytest.mark.peer
@pytest.mark.e2e
async def test_swaks_sends_through_it(mta):
    port, sink, _ = mta
    options = ["--from", "a@example.org", "--to", "u@example.com,v@example.net", "--body", ".dot first"]
    code, out = await call(program("swaks"), "--server", f"127.0.0.1:{port}", *options)
    assert code == 0, out
    mails = await arrived(sink, 2)
    assert {mail[1] for mail in mails} == {"u@example.com", "v@example.net"}
    assert b"\r\n.dot first\r\n" in mails[0][2]


@pytest.mark.peer
@pytest.mark.e2e
async def test_promtool_finds_nothing_to_criticize(mta):
    _, _, control = mta
    promtool = program("promtool")
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=control)) as client:
        text = (await client.get("http://mta/metrics")).content
    code, out = await call(promtool, "check", "metrics", stdin=text)
    assert (code, out) == (0, "")
