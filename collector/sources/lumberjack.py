"""Lumberjack version 2 over TCP or TLS: what `output.logstash` of every Beat, and Logstash's own output, speak.

An event is acknowledged when it is on disk, with its own sequence number. While that takes, the sender hears every few
seconds that we are alive (Beats give up after 30 s of silence) and is not read: it slows down, nothing is refused and
nothing is dropped. There is no way to say no in this protocol but to close, which is what wrong frames meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from collector.framing.lumberjack import LumberjackLimits, LumberjackReader, Run, ack
from collector.framing.parcels import Parcel, Shape
from collector.landing import Landing
from collector.settings import LumberjackSettings
from collector.sources.connections import StreamListener, land_patiently

__all__ = ["LumberjackServer"]

_EVENT_OVERHEAD = 64 << 10
"""What a shipper may wrap around the longest line."""
_SLOW = 10
"""A window may take this many times the longest pause in it."""


class LumberjackServer(StreamListener):
    """Lands what shippers send to one port."""

    def __init__(self, landing: Landing, settings: LumberjackSettings, max_line: int) -> None:
        super().__init__(landing, settings)
        self._keepalive_s = settings.keepalive_s
        self._limits = LumberjackLimits(
            window=settings.max_window_events,
            frame=settings.max_frame_bytes,
            inflated=4 * settings.max_frame_bytes,
            event=max_line + _EVENT_OVERHEAD,
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str) -> None:
        """Take windows until the peer closes. Raises ProtocolError and TimeoutError."""
        frames = LumberjackReader(self._limits)
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            if frames.is_idle:
                began = clock()
            elif clock() - began > _SLOW * self._settings.stall_s:
                raise TimeoutError
            async with asyncio.timeout(self._settings.idle_s if frames.is_idle else self._settings.stall_s):
                data = await reader.read(self.read_bytes)
            if not data:
                return
            frames.run_bytes = self.share()
            for run in frames.feed(data):
                await self._land(run, writer, sender)
                began = clock()

    async def _land(self, run: Run, writer: asyncio.StreamWriter, sender: str) -> None:
        landing = asyncio.ensure_future(land_patiently(self._landing, _parcels(run, sender)))
        try:
            while not (await asyncio.wait({landing}, timeout=self._keepalive_s))[0]:
                writer.write(ack(0))
                await self._drain(writer)
        finally:
            landing.cancel()
        landing.result()
        writer.write(ack(run.sequence))
        await self._drain(writer)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        """A peer that does not read its acknowledgements is cut."""
        async with asyncio.timeout(self._settings.stall_s):
            await writer.drain()


def _parcels(run: Run, sender: str) -> Iterator[Parcel]:
    if run.events:
        yield Parcel(run.events, Shape.EVENT, sender)
    for beginning, size in run.cut:
        yield Parcel([beginning], Shape.CUT, sender, size=size)
