"""Who is counted, and who is whom."""

from ipaddress import ip_network

from mta.networks import Networks
from mta.smtp.access import Admission

LOOPBACK = Networks([ip_network("127.0.0.0/8"), ip_network("::1/128")])


def test_a_mapped_address_counts_as_the_v4_address_in_it():
    assert "::ffff:127.0.0.1" in LOOPBACK
    assert "::1" in LOOPBACK
    assert "fe80::1%eth0" in Networks([ip_network("fe80::/10")])
    assert not any(text in LOOPBACK for text in ("192.0.2.1", "", "no address"))


def test_each_address_and_all_together_have_their_limit():
    door = Admission(total=4, per_ip=1, per_relay_ip=3, relays=LOOPBACK)
    assert [door.enter("192.0.2.1"), door.enter("192.0.2.1")] == [True, False]
    assert [door.enter("127.0.0.1") for _ in range(4)] == [True, True, True, False]
    assert not door.enter("192.0.2.2")
    door.leave("192.0.2.1")
    assert door.enter("192.0.2.2")
    assert door.count == 4
