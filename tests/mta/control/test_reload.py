"""Settings are taken up while connections go on; wrong ones change nothing; old log segments go when told to."""

import asyncio
import os
import ssl
from ipaddress import ip_network

import pytest

from mta.control.log_retention import remove_old_segments
from mta.events.errors import SettingsError

NOWHERE = [{"domain": "*", "host": "mx.nowhere.example", "address": "127.0.0.1", "port": 1}]
MAIL = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\n"


async def say(connection, data):
    reader, writer = connection
    writer.write(data)
    return (await asyncio.wait_for(reader.readline(), 5)).decode()


def changed(worker, **settings):
    """The worker's settings with others, checked as those of a file are."""
    held = worker.worker._settings
    return type(held).model_validate({name: getattr(held, name) for name in held.model_fields_set} | settings)


async def test_open_connections_go_on_and_new_ones_meet_the_new_settings(start_worker):
    worker = await start_worker(routes=NOWHERE)
    before = await asyncio.open_connection("127.0.0.1", worker.port)
    await before[0].readline()
    worker.worker.reload(changed(worker, relay_networks=[ip_network("192.0.2.0/24")], hostname="new.example"))
    assert (await say(before, b"HELO c\r\n")).startswith("250")
    assert (await say(before, b"MAIL FROM:<a@example.org>\r\n")).startswith("250")
    assert (await say(before, b"RCPT TO:<u@example.com>\r\n")).startswith("250")
    after = await asyncio.open_connection("127.0.0.1", worker.port)
    assert (await after[0].readline()).startswith(b"220 new.example ")
    await say(after, b"HELO c\r\n")
    await say(after, b"MAIL FROM:<a@example.org>\r\n")
    assert (await say(after, b"RCPT TO:<u@example.com>\r\n")).startswith("550 5.7.1")
    for _, writer in (before, after):
        writer.close()


async def test_mail_that_waits_takes_the_new_route(start_worker, peer):
    there = await peer()
    worker = await start_worker(routes=NOWHERE, retry_interval=0.2)
    await worker.send()
    await worker.until_type("TransientFailure")
    worker.worker.reload(changed(worker, routes=[there.route]))
    await worker.until_type("Delivery")


async def test_a_new_certificate_is_shown_without_a_restart(start_worker, tmp_path, make_certificate):
    certificate, key = make_certificate(tmp_path)
    worker = await start_worker(routes=NOWHERE, tls_certificate=certificate, tls_key=key)
    make_certificate(tmp_path)
    worker.worker.reload(changed(worker))
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    await reader.readline()
    await say((reader, writer), b"HELO c\r\n")
    assert (await say((reader, writer), b"STARTTLS\r\n")).startswith("220")
    await writer.start_tls(ssl.create_default_context(cafile=str(certificate)), server_hostname="localhost")
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert shown == ssl.PEM_cert_to_DER_cert(certificate.read_text())
    writer.close()


async def test_wrong_settings_are_refused_and_change_nothing(start_worker, peer, tmp_path):
    there = await peer()
    worker = await start_worker(routes=[there.route])
    with pytest.raises(SettingsError, match=r"no-such-file|cannot be read"):
        worker.worker.reload(changed(worker, routes=NOWHERE, shaping=[tmp_path / "no-such-file"]))
    await worker.send()
    await worker.until_type("Delivery")


def segment(folder, name, size, age, mode=0o444):
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (1000 - age, 1000 - age))
    path.chmod(mode)
    return path


def test_closed_segments_go_by_age_and_by_size_and_open_ones_stay(tmp_path):
    names = [f"2026010{number}-000000" for number in range(1, 6)]
    for age, name in zip((500, 400, 300, 200, 100), names, strict=True):
        segment(tmp_path, name, 10, age, mode=0o644 if age == 500 else 0o444)
    assert remove_old_segments(tmp_path, 1000, max_age=None, max_bytes=None) == 0
    assert remove_old_segments(tmp_path, 1000, max_age=350, max_bytes=None) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[0], *names[2:]]
    assert remove_old_segments(tmp_path, 1000, max_age=None, max_bytes=25) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[0], *names[3:]]
