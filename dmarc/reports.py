"""The nouns of this part: reports and what they hold, as they were sent. Absent stays None; nothing is assumed.

Instants are UTC microseconds. Domains are lower-case A-labels. `raw_*` is what stood in the report where it was not one
of the values the standards allow. Sources: RFC 7489 appendix C, RFC 9990 (aggregate), RFC 6591 and 9991 (failure),
RFC 8460 (TLS).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "AggregateReport",
    "AuthKind",
    "AuthResult",
    "Disposition",
    "FailureReport",
    "Outcome",
    "Override",
    "Policy",
    "Record",
    "ReportKind",
    "Result",
    "TlsFailure",
    "TlsPolicy",
    "TlsReport",
]


class ReportKind(StrEnum):
    """What a report is about."""

    AGGREGATE = "aggregate"
    FAILURE = "failure"
    TLS = "tls"


class Outcome(StrEnum):
    """What became of a report."""

    OK = "ok"
    RECOVERED = "recovered"
    """Damaged: what was whole has been read, so the sums may be incomplete."""
    QUARANTINED = "quarantined"
    """Not read: hostile, or nothing whole in it."""


class Result(StrEnum):
    """Results of SPF and DKIM (RFC 8601 section 2.7)."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    NONE = "none"
    NEUTRAL = "neutral"
    POLICY = "policy"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class AuthKind(StrEnum):
    """The mechanism behind a result."""

    DKIM = "dkim"
    SPF = "spf"


class Disposition(StrEnum):
    """What the receiver did because of DMARC. `PASS` (RFC 9990) and `NONE` both mean: not hindered."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - no password
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def delivered(self) -> bool:
        """DMARC did not stop the message; legacy and new reports agree on this."""
        return self in (Disposition.NONE, Disposition.PASS)


# Records come by the million: tuples are built four times as fast as frozen dataclasses, and are as immutable.
class AuthResult(NamedTuple):
    """One SPF or DKIM result as the receiver evaluated it, before alignment."""

    kind: AuthKind
    domain: str | None
    selector: str | None
    scope: str | None
    """SPF only: mfrom or helo."""
    result: Result | None
    raw_result: str | None
    human_result: str | None


class Override(NamedTuple):
    """Why the receiver did something other than the policy says; `type` in lower case, None where empty."""

    type: str | None
    comment: str | None


class Record(NamedTuple):
    """One row: `messages` messages from one IP with the same identifiers and results."""

    ordinal: int
    """Position in the report, from 0, refused records counted."""
    source_ip: str | None
    """Canonical text."""
    messages: int
    """The row's `count`."""
    disposition: Disposition | None
    dkim_aligned: bool | None
    """DMARC's view: passed *and* aligned. None where the report does not say."""
    spf_aligned: bool | None
    header_from: str | None
    envelope_from: str | None
    """Domain; "" for the null sender."""
    envelope_to: str | None
    auth: tuple[AuthResult, ...]
    overrides: tuple[Override, ...]
    extensions: tuple[tuple[str, str], ...]
    """Elements the standards do not know: name as sent, and text."""

    @property
    def passed(self) -> bool:
        """DMARC passed: one aligned mechanism is enough (RFC 9989 section 5.3)."""
        return bool(self.dkim_aligned or self.spf_aligned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy that the receiver found published."""

    domain: str | None = None
    p: str | None = None
    sp: str | None = None
    np: str | None = None
    adkim: str | None = None
    aspf: str | None = None
    pct: int | None = None
    fo: str | None = None
    testing: bool | None = None
    """`t=y`: the policy is applied one step softer."""
    discovery_method: str | None = None
    """psl or treewalk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateReport:
    """The frame of an aggregate report; its records travel apart, in batches, because there may be very many."""

    org_name: str | None
    email: str | None
    extra_contact_info: str | None
    report_id: str | None
    begin: int | None
    end: int | None
    errors: tuple[str, ...]
    generator: str | None
    version: str | None
    namespace: str | None
    policy: Policy
    extensions: tuple[tuple[str, str], ...]
    records: int
    """Records kept; those of count 0 included."""
    messages: int
    passed: int
    """Messages that passed DMARC."""

    @property
    def domain(self) -> str | None:
        """The policy domain: what the report is about."""
        return self.policy.domain


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFailure:
    """Sessions that failed for one reason (RFC 8460 section 4.3)."""

    result_type: str | None
    sending_mta_ip: str | None = None
    receiving_ip: str | None = None
    receiving_mx_hostname: str | None = None
    receiving_mx_helo: str | None = None
    sessions: int = 0
    additional_information: str | None = None
    failure_reason_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """What was seen under one policy. A domain with DANE and MTA-STS has a block for each: do not add across blocks."""

    policy_type: str | None
    domain: str | None
    policy_string: tuple[str, ...] = ()
    mx_host: tuple[str, ...] = ()
    successful: int = 0
    failed: int = 0
    failures: tuple[TlsFailure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsReport:
    """One TLS report (RFC 8460)."""

    org_name: str | None
    contact_info: str | None
    report_id: str | None
    begin: int | None
    end: int | None
    policies: tuple[TlsPolicy, ...]

    @property
    def records(self) -> int:
        """Policy blocks."""
        return len(self.policies)

    @property
    def messages(self) -> int:
        """Sessions over all blocks: a size for people, not a sum to compute with."""
        return self.passed + sum(policy.failed for policy in self.policies)

    @property
    def passed(self) -> int:
        """Successful sessions over all blocks."""
        return sum(policy.successful for policy in self.policies)

    @property
    def domain(self) -> str | None:
        """The first policy's domain."""
        return next((policy.domain for policy in self.policies if policy.domain), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """One failure report. Of the failed message only what identifies it is kept: no body, no header (promise 9)."""

    feedback_type: str
    auth_failure: str | None = None
    reported_domain: str | None = None
    org_name: str | None = None
    """Domain of the mail that carried the report."""
    user_agent: str | None = None
    version: str | None = None
    authentication_results: tuple[str, ...] = ()
    align_failed: tuple[str, ...] | None = None
    """Mechanisms that failed to align (RFC 9991): () for `none`, None where not said."""
    delivery_result: str | None = None
    original_envelope_id: str | None = None
    original_mail_from: str | None = None
    original_rcpt_to: tuple[str, ...] = ()
    source_ip: str | None = None
    source_port: int | None = None
    arrived: int | None = None
    incidents: int = 1
    dkim_domain: str | None = None
    dkim_identity: str | None = None
    dkim_selector: str | None = None
    spf_dns: str | None = None
    original_message_id: str | None = None
    original_from_domain: str | None = None
    reported_uri: tuple[str, ...] = ()

    @property
    def report_id(self) -> str | None:
        """Failure reports have no id; the failed message's stands in."""
        return self.original_message_id

    @property
    def domain(self) -> str | None:
        """The domain whose policy failed."""
        return self.reported_domain

    @property
    def begin(self) -> int | None:
        """When the failed message arrived."""
        return self.arrived

    @property
    def end(self) -> int | None:
        """When the failed message arrived."""
        return self.arrived

    @property
    def records(self) -> int:
        """One report is about one message, or several alike."""
        return 1

    @property
    def messages(self) -> int:
        """How many messages it stands for."""
        return self.incidents

    @property
    def passed(self) -> int:
        """None: that is what the report is about."""
        return 0
