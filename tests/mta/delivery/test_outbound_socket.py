"""Connections through a proxy that is told from where to connect."""

import asyncio
import socket

from mta.delivery.outbound_socket import proxy_header


def test_the_header_names_our_address_and_the_peers():
    header = proxy_header("192.0.2.1", "198.51.100.7", 25)
    assert header == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes((192, 0, 2, 1, 198, 51, 100, 7, 0, 0, 0, 25))
    header = proxy_header("2001:db8::1", "2001:db8::2", 2525)
    assert header[13:16] == b"\x21\0\x24"
    assert header[16:32] == socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert header[-2:] == (2525).to_bytes(2)


async def test_mail_leaves_by_the_proxy_and_the_log_says_so(start_worker, peer):
    there = await peer()
    asked = []

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader, writer):
        asked.append(await reader.readexactly(28))
        onward = await asyncio.open_connection("127.0.0.1", int.from_bytes(asked[0][26:]))
        await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    source = {"name": "ip9", "source_address": "192.0.2.9", "ha_proxy_server": f"127.0.0.1:{port}"}
    worker = await start_worker(routes=[there.route], sources=[source])
    await worker.send()
    (record,) = await worker.until_type("Delivery")
    assert asked == [proxy_header("192.0.2.9", "127.0.0.1", there.port)]
    assert record["source_address"] == {"address": "192.0.2.9:0", "server": f"127.0.0.1:{port}", "protocol": "haproxy"}
    await worker.worker.stop()
    proxy.close()
