"""Limits as a provider measures them, while two real workers deliver and one of them is killed."""

import asyncio
import signal
import sys
from bisect import bisect_left
from contextlib import closing, suppress
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.e2e]

SHAPING = """
["default"]
connection_limit = 3
max_connection_rate = "10/s"
max_message_rate = "40/s"
max_deliveries_per_connection = 15
[provider."there"]
match = [{MXSuffix = ".there.example"}]
provider_connection_limit = 4
provider_max_message_rate = "50/s"
"""


class MeasuringSink:
    """A provider that notes when connections are opened and closed, and when messages come; one site a port."""

    def __init__(self):
        self.messages, self.opened, self.recipients = [], [], []
        self.open = self.most_open = self.most_on_connection = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        now = asyncio.get_running_loop().time
        self.opened.append(now())
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        taken = 0
        # A worker that is killed in mid-sentence leaves a reset or half a message behind, and no connection.
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            writer.write(b"220 hi\r\n")
            while line := await reader.readline():
                if line.startswith(b"DATA"):
                    self.messages.append(now())
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    taken += 1
                elif line.startswith(b"RCPT"):
                    self.recipients.append(line)
                await asyncio.sleep(0.002)
                writer.write(b"250-hi\r\n250 PIPELINING\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")
        self.most_on_connection = max(self.most_on_connection, taken)
        self.open -= 1


def most_in(times, seconds):
    """The most events in any stretch of that length."""
    times = sorted(times)
    return max(bisect_left(times, start + seconds) - first for first, start in enumerate(times))


async def start_worker(folder, number, sites):
    (folder / "shaping.toml").write_text(SHAPING)
    common = f'retry_interval = 0.3\nmin_free_bytes = 0\nidle_timeout = 1\nshaping = "{folder}/shaping.toml"\n'
    address = 'address = "127.0.0.1"'
    routes = [
        f'[[mta.routes]]\ndomain = "{name}.example"\nhost = "{name}.there.example"\nport = {port}\n{address}'
        for name, port in sites.items()
    ]
    config = folder / f"mta{number}.toml"
    config.write_text("\n".join(["[mta]", common, *routes]))
    arguments = ["mta", "--data", folder / "data", "--config", config, "--listen", "127.0.0.1:0", "--json"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from mtascope.cli import main; main()"),
        *(*map(str, arguments), "--worker", str(number)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    return process, orjson.loads(line)["smtp"][0][1]


async def send(port, recipients):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(b"EHLO load\r\n")
        await reader.readuntil(b"250 ")
        for recipient in recipients:
            writer.write(f"MAIL FROM:<a@example.org>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
            await reader.readuntil(b"354")
            writer.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
            await reader.readuntil(b"ids=")


async def test_no_limit_is_passed_by_more_than_five_percent_whoever_dies(tmp_path):
    sinks = {name: MeasuringSink() for name in ("one", "two")}
    sites = {name: await sink.start() for name, sink in sinks.items()}
    workers = [await start_worker(tmp_path, number, sites) for number in (0, 1)]
    for number, (_, port) in enumerate(workers):
        await send(port, [f"w{number}n{n}@{name}.example" for n in range(75) for name in sites])
    await asyncio.sleep(1.5)
    workers[0][0].send_signal(signal.SIGKILL)
    await workers[0][0].wait()
    workers[0] = await start_worker(tmp_path, 0, sites)
    async with asyncio.timeout(30):
        while any(len({*sink.recipients}) < 150 for sink in sinks.values()):  # noqa: ASYNC110 - two sinks, one wait
            await asyncio.sleep(0.1)
    for process, _ in workers:
        process.send_signal(signal.SIGTERM)
        await process.wait()
    for sink in sinks.values():
        sink.server.close()
        assert most_in(sink.messages, 1.0) <= 40 * 1.05
        assert most_in(sink.opened, 1.0) <= 10 * 1.05
        assert sink.most_open <= 3
        assert sink.most_on_connection <= 15
    together = [moment for sink in sinks.values() for moment in sink.messages]
    assert most_in(together, 1.0) <= 50 * 1.05
    assert len(together) / (max(together) - min(together)) > 35, "and the limits are made use of"
