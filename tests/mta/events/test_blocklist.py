"""Which blocklist a reply names."""

import pytest

from mta.events.blocklist import find_blocklist, zone_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Client host [192.0.2.1] blocked using zen.spamhaus.org; see https://www.spamhaus.org/", "Spamhaus ZEN"),
        ("having a domain present in the Spamhaus DBL", "Spamhaus"),
        ("blocked using b.barracudacentral.org", "Barracuda BRBL"),
        ("192.0.2.1 is listed in dnsbl.example.net", "dnsbl.example.net"),
        ("IP listed by UCEPROTECT", "UCEPROTECT"),
        ("host mx.example.com said: no", None),
        ("", None),
    ],
)
def test_the_list_is_found_by_zone_by_name_or_by_what_the_server_asked(text, name):
    assert find_blocklist(text) == name


def test_an_ordinary_host_lies_in_no_zone():
    assert zone_of("mx.example.com") is None
    assert zone_of("1.2.0.192.bl.spamcop.net") == "spamcop.net"
