"""The MTA does not send to whom the list names; it accepts the mail, logs why, and takes up a new list by itself."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

from mta.delivery.suppression import Suppression
from mta.events.pseudonym import Keyring
from mta.events.suppression import NEVER, encode, tenant_key

KEYRING = Keyring(b"i" * 32, {1: b"a" * 32, 2: b"b" * 32})


def write(path: Path, *entries: tuple[str, str, int], version: int = 1, epoch: int = 2) -> None:
    """A list of (address, tenant, end)."""
    rows = sorted((KEYRING.recipient_hash(who, epoch) ^ tenant_key(tenant), end) for who, tenant, end in entries)
    keys, ends = array("Q", [key for key, _ in rows]), array("I", [end for _, end in rows])
    half = path.with_suffix(".half")
    half.write_bytes(encode(keys, ends, bytes(len(rows)), names=("bounce",), epochs=(1, 2), version=version))
    half.replace(path)


async def test_a_suppressed_recipient_is_accepted_and_never_attempted(
    tmp_path: Path, start_worker: Any, peer: Any
) -> None:
    path = tmp_path / "list"
    write(path, ("Ann@Example.org", "", NEVER), ("ben@example.org", "acme", NEVER), ("cat@example.org", "", 1))
    provider = await peer()
    worker = await start_worker(routes=[provider.route], options={"suppression": Suppression(path, lambda: KEYRING)})
    await worker.send(["ann@EXAMPLE.org", "ben@example.org", "cat@example.org", "dan@example.org"])
    await worker.send("ben@example.org", body=b"X-Tenant: acme\r\nMessage-ID: <9@x>\r\n\r\nHello\r\n")
    await worker.until_type("Delivery", 3)
    stopped = await worker.until_type("AdminBounce", 2)
    assert sorted(recipient for _, recipient, _, _ in provider.mails) == [
        "ben@example.org", "cat@example.org", "dan@example.org"
    ]  # fmt: skip
    assert {record["recipient"] for record in stopped} == {"ann@EXAMPLE.org", "ben@example.org"}
    assert {record["meta"]["mtascope_suppressed"] for record in stopped} == {"bounce"}
    assert {record["num_attempts"] for record in stopped} == {0}
    assert worker.types() == {"Reception": 5, "Delivery": 3, "AdminBounce": 2}
    sample = worker.worker.metrics.registry.get_sample_value
    assert sample("mtascope_mta_suppressed_total") == 2
    assert sample("mtascope_mta_suppression_entries") == 3


async def test_notices_of_our_own_go_to_everybody(tmp_path: Path, start_worker: Any, peer: Any) -> None:
    path = tmp_path / "list"
    write(path, ("ann@example.org", "", NEVER))
    provider = await peer()
    worker = await start_worker(routes=[provider.route], options={"suppression": Suppression(path, lambda: KEYRING)})
    await worker.send("ann@example.org", sender="")
    await worker.until_type("Delivery")


def test_a_newer_list_is_taken_up_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "list"
    suppression = Suppression(path, lambda: KEYRING)
    assert suppression.find("ann@example.org", "", 0) is None
    write(path, ("ann@example.org", "", NEVER), epoch=1)
    suppression.refresh()
    assert suppression.find("ann@example.org", "", 0) is not None
    write(path, ("ben@example.org", "", NEVER), version=2)
    suppression.refresh()
    assert suppression.find("ann@example.org", "", 0) is None
    path.unlink()
    path.write_bytes(b"damaged")
    suppression.refresh()
    assert suppression.version == 2
    assert suppression.find("ben@example.org", "", 0) is not None
