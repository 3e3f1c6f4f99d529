"""The routes about reports, on a store with a genuine report and a forged one."""

from __future__ import annotations

import httpx
import pytest

from analytics.dmarc_store import DmarcStore
from dmarc.carrier import MailAuth
from dmarc.ingest import ReportIngest
from mta.events.pseudonym import Keyring

REPORT = (
    "<feedback><report_metadata><org_name>{org}</org_name><report_id>1</report_id><date_range><begin>1735689600</begin>"
    "<end>1735775999</end></date_range></report_metadata><policy_published><domain>example.com</domain><p>none</p>"
    "</policy_published><record><row><source_ip>192.0.2.1</source_ip><count>{count}</count><policy_evaluated>"
    "<disposition>{disposition}</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers>"
    "<header_from>example.com</header_from></identifiers></record></feedback>"
)


@pytest.fixture
def asked(api, store):
    """Asks a route; the store holds two genuine reports, one in the new form, and a forged one."""
    reports = DmarcStore(store)
    ingest = ReportIngest(reports, Keyring(b"i" * 32, {1: b"r" * 32}), store.clock)
    for org, count, disposition, auth in (
        ("old", 3, "none", MailAuth.PASS),
        ("new", 4, "pass", MailAuth.UNKNOWN),
        ("forger", 900, "reject", MailAuth.FAIL),
    ):
        data = REPORT.format(org=org, count=count, disposition=disposition).encode()
        ingest.take(org, [data], auth)
    ingest.commit()
    reports.close()

    async def ask(url: str) -> list[dict[str, object]]:
        transport = httpx.ASGITransport(app=api, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


async def test_one_chart_for_old_reports_and_new_ones_without_forged_ones(asked):
    (day,) = await asked("/v1/dmarc/daily?domain=example.com&until=2025-01-05T00:00:00Z")
    assert (day["day"], day["messages"], day["passed"]) == ("2025-01-01T00:00:00.000000Z", 7, 7)
    assert (day["delivered"], day["spf_aligned"]) == (7, 0)


async def test_forged_reports_can_be_looked_at(asked):
    found = await asked("/v1/dmarc/reports?mail_auth=fail")
    assert [(row["org_name"], row["messages"], row["mail_auth"]) for row in found] == [("forger", 900, "fail")]
    assert len(await asked("/v1/dmarc/reports?domain=Example.com")) == 3
