"""Whatever happens between crashes, the spool agrees with a model of it."""

import asyncio
import os
import shutil
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.queue.message import Envelope, Message
from mta.queue.spool import Spool

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["postpone", "finish"]), st.integers(0, 10)),
        st.tuples(st.sampled_from(["log", "reclaim", "crash"]), st.just(0)),
        st.tuples(st.just("lose"), st.integers(1, 60)),
    ),
    max_size=30,
)


class Model:
    """What must be true: messages by id with (attempts, due), and the records beyond what the log holds."""

    def __init__(self):
        self.messages = {}
        self.bodies = {}
        self.records = 0
        self.logged = 0


class Run:
    def __init__(self, root):
        self.root = Path(root)
        self.model = Model()
        self.numbers = count(1)
        self.open(self.root / "0")

    def open(self, folder):
        self.handed = []
        self.spool = Spool(folder, outbox=lambda seq, _: self.handed.append(seq), segment_bytes=700)
        self.spool.recover(self.model.logged)

    async def accept(self, recipients):
        body = os.urandom(4).hex().encode() * 20
        envelope = Envelope("s@example.org", received_at=next(self.numbers), size=len(body))
        messages = [
            Message(f"{next(self.numbers):032x}", "r@example.com", "example.com", "example.com", envelope)
            for _ in range(recipients)
        ]
        await self.spool.accept(envelope, messages, body, [{"meta": {}}] * recipients)
        for message in messages:
            self.model.messages[message.id] = (0, 0)
            self.model.bodies[message.id] = body
        self.model.records += recipients

    async def postpone(self, which):
        if message := await self.pick(which):
            await self.spool.postpone(message, message.due + 7, [{"meta": {}}])
            self.model.messages[message.id] = (message.attempts, message.due)
            self.model.records += 1

    async def finish(self, which):
        if message := await self.pick(which):
            await self.spool.finish(message, [{"meta": {}}] * 2)
            del self.model.messages[message.id]
            self.model.records += 2

    async def pick(self, which):
        waiting = await self.spool.all()
        message = waiting[which % len(waiting)] if waiting else None
        assert message is None or await self.spool.claim(message)
        return message

    async def log(self, _):
        self.model.logged = self.model.records
        await self.spool.logged(self.model.logged)

    async def reclaim(self, _):
        await self.spool.reclaim()

    async def crash(self, _):
        self.reopen(lambda _: None)

    async def lose(self, size):
        """A crash in the middle of writing an entry that nobody was told about."""

        def tear(folder):
            last = max(folder.glob("*.journal"), default=None)
            if last is not None:
                with last.open("ab") as file:
                    file.write(os.urandom(size))

        self.reopen(tear)

    def reopen(self, change):
        old, new = self.spool, self.root / f"{next(self.numbers)}"
        shutil.copytree(old.folder, new)
        change(new)
        os.close(old._lock)
        self.open(new)
        assert self.handed == list(range(self.model.logged + 1, self.model.records + 1))

    async def check(self):
        found = {message.id: (message.attempts, message.due) for message in await self.spool.all()}
        assert found == self.model.messages
        for message in await self.spool.all():
            assert await self.spool.read(message) == self.model.bodies[message.id]


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_a_spool_with_crashes_equals_one_without(steps):
    async def run():
        with TemporaryDirectory() as root:
            trial = Run(root)
            for name, argument in steps:
                await getattr(trial, name)(argument)
            await trial.check()
            await trial.crash(0)
            await trial.check()
            await trial.spool.close()

    asyncio.run(run())
