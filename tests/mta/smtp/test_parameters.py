"""What MAIL and RCPT ask for is read as RFC 3461 and RFC 6710 write it, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.parameters import MailParameters, RcptParameters, mail_parameters, rcpt_parameters


def test_mail_says_what_a_report_holds_what_it_names_and_how_urgent_it_is():
    found = mail_parameters(" ret=full SIZE=10 ENVID=QQ314159+2B MT-PRIORITY=-3 AUTH=<> SMTPUTF8")
    assert found == (MailParameters("FULL", "QQ314159+2B", -3), "SIZE=10 SMTPUTF8")


def test_rcpt_says_when_to_report_and_who_was_meant():
    found = rcpt_parameters(" NOTIFY=success,Delay ORCPT=rfc822;Bob+2B@Example.COM X=1")
    assert found == (RcptParameters("SUCCESS,DELAY", "rfc822;Bob+2B@Example.COM"), "X=1")
    assert rcpt_parameters("ORCPT=utf-8;почта@пример.рф")[0].orcpt == "utf-8;почта@пример.рф"


@pytest.mark.parametrize(
    "options",
    [
        "RET",
        "RET=",
        "RET=ALL",
        "ENVID=",
        "ENVID=a b=c RET=X",
        "ENVID=" + "x" * 101,
        "ENVID=+2b",
        "MT-PRIORITY=10",
        "MT-PRIORITY=",
        "RET=FULL RET=HDRS",
        "AUTH=",
    ],
)
def test_what_is_no_value_of_mail_is_refused(options):
    with pytest.raises(ValueError, match=r"RET|ENVID|MT-PRIORITY|AUTH"):
        mail_parameters(options)


@pytest.mark.parametrize(
    "options",
    [
        "NOTIFY=",
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=SUCCESS,SUCCESS",
        "NOTIFY=FAILURE NOTIFY=DELAY",
        "ORCPT=bob@example.com",
        "ORCPT=rfc822;",
        "ORCPT=rfc822;b=c",
        "ORCPT=rfc822;" + "x" * 501,
    ],
)
def test_what_is_no_value_of_rcpt_is_refused(options):
    with pytest.raises(ValueError, match=r"NOTIFY|ORCPT"):
        rcpt_parameters(options)


@given(st.text(st.characters(codec="utf8"), max_size=60))
def test_no_option_can_bring_a_line_end_into_a_report(text):
    try:
        said = rcpt_parameters("ORCPT=rfc822;" + text)[0]
    except ValueError:
        return
    assert "\r" not in said.orcpt
    assert "\n" not in said.orcpt
