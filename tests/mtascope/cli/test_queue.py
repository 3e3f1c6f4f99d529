"""`mtascope queue`: orders stand in the data directory whether workers run or not; workers tell what waits."""

import asyncio
import threading

import orjson
import pytest
from click.testing import CliRunner

from mta.events.errors import SettingsError
from mta.settings import MtaSettings
from mta.worker import Worker, WorkerPaths
from mtascope.cli.queue import command
from mtascope.output import Exit

ROUTES = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]
MAIL = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\nBDAT 3 LAST\r\nx\r\nQUIT\r\n"


@pytest.fixture
def run(tmp_path):
    def invoke(*arguments):
        result = CliRunner().invoke(command, [*arguments, "--data", str(tmp_path)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def waiting(tmp_path):
    """A worker in a thread of its own, with one message that waits; its id."""
    ready, done, found = threading.Event(), threading.Event(), []

    async def serve():
        settings = MtaSettings(listen=[("127.0.0.1", 0)], routes=ROUTES, min_free_bytes=0, retry_interval=60)
        worker = Worker(settings, WorkerPaths.under(tmp_path))
        await worker.start()
        reader, writer = await asyncio.open_connection(*worker.addresses[0])
        writer.write(MAIL)
        answers = (await reader.read()).decode()
        writer.close()
        found.append(answers.partition("ids=")[2][:32])
        ready.set()
        await asyncio.to_thread(done.wait)
        await worker.stop()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    assert ready.wait(10)
    yield found[0]
    done.set()
    thread.join()


def test_an_order_is_given_listed_and_ended_without_a_worker(run):
    given = orjson.loads(run("suspend", "--tenant", "acme", "--reason", "blocked", "--for", "2h", "--json").output)
    assert given["criteria"]["tenant"] == "acme"
    (listed,) = orjson.loads(run("orders", "--json").output)["orders"]
    assert listed == given
    assert "blocked" in run("orders").output
    assert run("resume", given["id"]).exit_code == Exit.DONE
    assert run("resume", given["id"]).exit_code == Exit.REFUSED
    assert orjson.loads(run("orders", "--json").output) == {"orders": []}


def test_nobody_gives_up_everything_by_leaving_something_out(run):
    assert "or --everything" in run("bounce", "--reason", "oops").output
    assert run("bounce", "--reason", "meant", "--everything").exit_code == Exit.DONE


def test_a_wrong_duration_is_named(run):
    assert "--for" in run("suspend", "--tenant", "x", "--reason", "y", "--for", "soon").output


def test_without_a_worker_there_is_nothing_to_look_at(run):
    with pytest.raises(SettingsError, match="no MTA worker runs"):
        run("list")


def test_what_waits_is_listed_shown_and_put_elsewhere(run, waiting):
    assert orjson.loads(run("list", "--json").output) == {"queues": {"example.com": 1}, "messages": 1}
    assert orjson.loads(run("show", waiting, "--body").output)["message"]["data"].endswith("x\r\n")
    assert run("show", "0" * 32).exit_code == Exit.REFUSED
    moved = run("rebind", "--domain", "example.com", "--to-tenant", "acme", "--reason", "theirs", "--json")
    assert orjson.loads(moved.output) == {"rebound": 1}
    assert "acme@example.com" in run("list").output
