"""A real worker process is killed in mid-load, again and again: nothing accepted is lost, nothing is logged twice."""

import asyncio
import os
import signal
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import orjson
import pytest
import zstandard
from aiosmtpd.smtp import SMTP

ROOT = Path(__file__).resolve().parents[2]
KILLS = 4


class CountingSink:
    """A next hop that defers some first attempts, bounces some recipients and counts every 250 after the dot."""

    def __init__(self):
        self.accepted = Counter()
        self.tried = Counter()

    async def start(self):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: SMTP(self, hostname="sink", loop=loop), "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        number = int(address.partition("@")[0][1:])
        self.tried[number] += 1
        if number % 10 == 3:
            return "550 5.1.1 No such user"
        if number % 10 == 7 and self.tried[number] == 1:
            return "451 4.7.1 Greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.accepted[int(envelope.rcpt_tos[0].partition("@")[0][1:])] += 1
        return "250 2.0.0 Taken"


class Mta:
    """`mtascope mta` as a process of its own."""

    def __init__(self, folder, sink_port):
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.config = folder / "mta.toml"
        self.config.write_text(
            "[mta]\nretry_interval = 0.2\nmax_retry_interval = 0.5\nmin_free_bytes = 0\nlog_flush_interval = 0.05\n"
            "journal_segment_bytes = 200000\nlog_segment_duration = 1.5\nlog_segment_bytes = 300000\n"
            f'[[mta.routes]]\ndomain = "*"\nhost = "mx.sink.example"\naddress = "127.0.0.1"\nport = {sink_port}\n'
        )

    async def start(self):
        main = "from mtascope.cli import main; main()"
        arguments = ["mta", "--data", self.data, "--config", self.config, "--listen", "127.0.0.1:0", "--json"]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", main, *map(str, arguments), cwd=ROOT, stdout=-1, stderr=-1
        )
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line, (await self.process.stderr.read()).decode()
        self.port = orjson.loads(line)["smtp"][0][1]

    async def stop(self, number):
        self.process.send_signal(number)
        self.errors = (await self.process.communicate())[1].decode()

    def log(self):
        folder = self.data / "mta" / "log" / "0"
        text = b"".join(decode(path) for path in sorted(folder.iterdir()))
        return [orjson.loads(line) for line in text.split(b"\n")[:-1]]


def decode(path):
    """What a reader gets out of a segment; it must end at a line, whatever killed its writer."""
    text = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    assert text == b"" or text.endswith(b"\n")
    return text


class Load:
    """Sends numbered messages over a few connections and knows which were accepted."""

    def __init__(self):
        self.accepted = set()
        self.unknown = set()
        self.next = 0

    async def send(self, port):
        """Until the connection dies."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(writer):
                await reader.readline()
                writer.write(b"EHLO load\r\n")
                while (await reader.readline())[3:4] == b"-":
                    pass
                while True:
                    await self.transaction(reader, writer)

    async def transaction(self, reader, writer):
        number, self.next = self.next, self.next + 1
        writer.write(f"MAIL FROM:<load@example.org>\r\nRCPT TO:<n{number}@example.com>\r\nDATA\r\n".encode())
        for _ in range(3):
            if not await reader.readline():
                raise ConnectionResetError
        self.unknown.add(number)
        writer.write(b"Message-ID: <%d@example.org>\r\n\r\n%s\r\n.\r\n" % (number, b"x" * 60))
        answer = await reader.readline()
        if not answer:
            raise ConnectionResetError
        self.unknown.discard(number)
        if answer.startswith(b"250"):
            self.accepted.add(number)


@pytest.mark.e2e
async def test_killing_the_worker_in_mid_load_loses_nothing_and_logs_nothing_twice(tmp_path):
    sink, load = CountingSink(), Load()
    mta = Mta(tmp_path, await sink.start())
    for _ in range(KILLS):
        await mta.start()
        clients = [asyncio.create_task(load.send(mta.port)) for _ in range(8)]
        await asyncio.sleep(1.2)
        await mta.stop(signal.SIGKILL)
        await asyncio.gather(*clients)
    await mta.start()
    await drained(mta, load.accepted)
    await mta.stop(signal.SIGTERM)
    assert mta.process.returncode == 0, mta.errors
    records = mta.log()
    sink.server.close()

    assert len(load.accepted) > 200
    seqs = [record["meta"]["mtascope_seq"] for record in records]
    assert seqs == sorted(set(seqs))
    keys = Counter((r["id"], r["type"], r["recipient"], r["num_attempts"]) for r in records)
    assert max(keys.values()) == 1
    received, delivered, bounced = (numbers(records, kind) for kind in ("Reception", "Delivery", "Bounce"))
    assert load.accepted <= received <= load.accepted | load.unknown
    assert delivered | bounced == received
    assert bounced == {number for number in received if number % 10 == 3}
    assert not delivered & bounced
    assert delivered <= set(sink.accepted)
    doubles = sum(sink.accepted.values()) - len(sink.accepted)
    assert doubles <= KILLS * 10, "more than one message per outbound connection and kill"
    assert list((mta.data / "mta" / "spool" / "0").glob("damaged/*")) == []


def numbers(records, kind):
    return {int(r["recipient"].partition("@")[0][1:]) for r in records if r["type"] == kind}


async def drained(mta, accepted):
    for _ in range(300):
        await asyncio.sleep(0.1)
        records = mta.log()
        if accepted <= numbers(records, "Delivery") | numbers(records, "Bounce"):
            return
    raise AssertionError("the queue was not emptied in time")


@pytest.mark.e2e
async def test_a_wrong_setting_ends_the_command_with_the_name_of_the_field(tmp_path):
    config = tmp_path / "bad.toml"
    config.write_text('[mta]\nretry_interval = "soon"\n')
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from mtascope.cli import main; main()",
        "mta",
        "--config",
        str(config),
        cwd=ROOT,
        stderr=-1,
    )
    errors = (await process.communicate())[1].decode()
    assert process.returncode == 2
    assert "mta.retry_interval" in errors
    assert os.linesep not in errors.strip()
