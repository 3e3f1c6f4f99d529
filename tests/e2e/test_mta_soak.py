"""The long proof: hundreds of kills at random instants under load. What was accepted is delivered or bounced, once."""

import asyncio
import importlib.util
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("kill_parts", Path(__file__).with_name("test_mta_kill.py"))
parts = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(parts)

KILLS = 200
WORKERS = 2
CONNECTIONS_OUT = 10
"""The default `connection_limit`: at most so many messages are between a provider's word and our record of it."""


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_two_hundred_random_kills_lose_nothing_and_double_only_what_a_kill_cut_off(tmp_path):
    sink, load, source = parts.CountingSink(), parts.Load(), random.Random(7)
    port = await sink.start()
    mtas = [parts.Mta(tmp_path / str(number), port) for number in range(WORKERS)]
    kills = 0

    async def torment(mta):
        nonlocal kills
        while kills < KILLS:
            kills += 1
            await mta.start()
            clients = [asyncio.create_task(load.send(mta.port)) for _ in range(4)]
            await asyncio.sleep(source.uniform(0.0, 0.8))
            await mta.stop(signal.SIGKILL)
            await asyncio.gather(*clients)

    await asyncio.gather(*map(torment, mtas))
    for mta in mtas:
        await mta.start()
    records = []
    for _ in range(600):
        await asyncio.sleep(0.1)
        records = [record for mta in mtas for record in mta.log()]
        if load.accepted <= parts.numbers(records, "Delivery") | parts.numbers(records, "Bounce"):
            break
    for mta in mtas:
        await mta.stop(signal.SIGTERM)
    records = [record for mta in mtas for record in mta.log()]
    sink.server.close()

    received, delivered, bounced = (parts.numbers(records, kind) for kind in ("Reception", "Delivery", "Bounce"))
    doubles = sum(sink.accepted.values()) - len(sink.accepted)
    assert len(load.accepted) > 1000
    assert load.accepted <= received <= load.accepted | load.unknown
    assert delivered | bounced == received
    assert not delivered & bounced
    assert delivered <= set(sink.accepted)
    assert set(sink.accepted) <= received
    keys = Counter((r["id"], r["type"], r["recipient"], r["num_attempts"]) for r in records)
    assert max(keys.values()) == 1
    assert doubles <= kills * CONNECTIONS_OUT, f"{doubles} of {len(received)} delivered twice in {kills} kills"
    for mta in mtas:
        assert list((mta.data / "mta" / "spool" / "0").glob("damaged/*")) == []
