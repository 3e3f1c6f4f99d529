"""The provider map of METRICS.md section 4."""

from pathlib import Path

import pytest

from mta.events.errors import SettingsError
from mta.events.provider import Provider, ProviderMap
from mtascope.resources import provider_map

ROWS = b"""provider,kind,value
gmail,domain,gmail.com
gmail,mx_suffix,gmail-smtp-in.l.google.com
google-workspace,mx_suffix,google.com
bundesweit,domain,post.xn--mller-kva.de
cable,moving_domain,cable.example
yahoo,mx_suffix,yahoodns.net
mimecast,mx_suffix,mimecast.com
tenants,domain_suffix,onmicrosoft.com
"""
GROUPS = b"""provider,group,gateway,feedback_loop,labelled
gmail,google,no,no,yes
google-workspace,google,no,no,no
mimecast,mimecast,yes,no,yes
yahoo,yahoo,no,yes,yes
"""


@pytest.fixture(scope="module")
def small() -> ProviderMap:
    return ProviderMap.from_csv(ROWS, GROUPS)


def test_the_longest_mx_suffix_wins_over_a_shorter_one(small):
    assert small.lookup("a.example", "alt1.gmail-smtp-in.l.google.com.").name == "gmail"
    assert small.lookup("a.example", "aspmx.l.google.com").name == "google-workspace"


def test_a_suffix_ends_on_a_label_boundary(small):
    assert small.lookup("a.example", "mx.notgoogle.com").name == "mx:notgoogle.com"


def test_the_recipient_domain_decides_before_the_mx_host(small):
    assert small.lookup("GMAIL.com", "eu-smtp.mimecast.com") == Provider("gmail", "google", None, "domain")


def test_a_filter_in_front_is_the_provider_that_decides(small):
    assert small.lookup("firm.example", "eu-smtp.mimecast.com") == Provider("mimecast", "mimecast", "mimecast", "mx")


def test_a_moving_domain_follows_the_connection_where_it_is_known(small):
    assert small.lookup("cable.example").name == "cable"
    assert small.lookup("cable.example", "mta5.am0.yahoodns.net").name == "yahoo"


def test_a_domain_suffix_holds_for_everything_below(small):
    assert small.lookup("firm.onmicrosoft.com").name == "tenants"


def test_internationalised_domains_are_equal_in_both_spellings(small):
    assert small.lookup("post.MÜLLER.de").name == "bundesweit"


def test_rows_of_an_operator_behind_ours_win():
    override = ProviderMap.from_csv(ROWS + b"provider,kind,value\nours,domain,gmail.com\n", GROUPS)
    assert override.lookup("gmail.com") == Provider("ours", "ours", None, "domain")


def test_an_unknown_mx_host_names_its_registrable_domain(small):
    assert small.lookup("a.example", "mx1.mail.example.co.uk") == Provider(
        "mx:example.co.uk", "other", None, "mx-domain"
    )


@pytest.mark.parametrize("host", [None, "", "192.0.2.1", "[192.0.2.1]", "2001:db8::1", "localhost", "..", "a..b"])
def test_without_a_usable_host_the_provider_is_other(small, host):
    assert small.lookup("a.example", host) == Provider("other", "other", None, "none")


def test_only_providers_with_a_label_of_their_own_become_labels(small):
    assert small.labelled == ("gmail", "mimecast", "yahoo")
    assert [small.label(name) for name in ("gmail", "google-workspace", "mx:example.net")] == [
        "gmail",
        "other",
        "other",
    ]


def test_complaints_are_known_only_where_a_feedback_loop_runs(small):
    assert small.runs_feedback_loop("yahoo")
    assert not small.runs_feedback_loop("gmail")
    assert not small.runs_feedback_loop("mx:example.net")


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (b"provider,kind\ngmail,domain\n", "value"),
        (b"provider,kind,value\ngmail,domian,gmail.com\n", "line 2"),
        (b"provider,kind,value\ngmail,domain\n", "line 2"),
        (b"provider,kind,value\n\xff,domain,a\n", "UTF-8"),
    ],
)
def test_a_wrong_row_is_refused_by_name(rows, named):
    with pytest.raises(SettingsError, match=named):
        ProviderMap.from_csv(rows, GROUPS)


def test_the_shipped_map_knows_the_edges_that_differ():
    shipped = provider_map()
    expected = {
        ("gmail.com", None): "gmail",
        ("firm.example", "aspmx.l.google.com"): "google-workspace",
        ("hotmail.co.uk", None): "microsoft-consumer",
        ("firm.example", "firm-example.mail.protection.outlook.com"): "microsoft-365",
        ("firm.example", "hotmail-com.olc.protection.outlook.com"): "microsoft-consumer",
        ("firm.example", "firm.p-v1.mx.microsoft"): "microsoft-365",
        ("aol.com", "mx-aol.mail.gm0.yahoodns.net"): "yahoo",
        ("cox.net", "mta7.am0.yahoodns.net"): "yahoo",
        ("firm.example", "mxa-0001.gslb.pphosted.com"): "proofpoint",
        ("firm.example", "mxbiz1.qq.com"): "tencent-exmail",
        ("tampabay.rr.com", None): "charter-spectrum",
    }
    assert {key: shipped.lookup(*key).name for key in expected} == expected
    assert len(shipped.labelled) == 25
    assert set(shipped.labelled) <= set(shipped.names)


def test_every_labelled_provider_and_every_feedback_loop_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf8")
    shipped = provider_map()
    known = {*shipped.labelled, *(name for name in shipped.names if shipped.runs_feedback_loop(name))}
    assert [name for name in known if f"`{name}`" not in page] == []
