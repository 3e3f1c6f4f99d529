"""Assembling records and the frame of an aggregate report from single values, in the order in which they are met.

Knows what the values mean and how they hang together; knows nothing of XML: `dmarc/grammar.py` says which element
ends with which method here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dmarc import values
from dmarc.deviation import Deviation, Deviations
from dmarc.limits import Limits
from dmarc.reports import AggregateReport, AuthKind, AuthResult, Override, Policy, Record
from mta.events.errors import LimitExceeded
from mta.events.instants import DAY, MINUTE

__all__ = ["Assembly"]

_VERSIONS = frozenset({None, "", "1", "1.0"})
_LONG_PERIOD = DAY + 5 * MINUTE
_POLICIES = frozenset({None, "none", "quarantine", "reject"})
_REASONS = frozenset(
    {
        "forwarded",
        "local_policy",
        "mailing_list",
        "other",
        "policy_test_mode",
        "sampled_out",
        "trusted_forwarder",
    }
)


class Assembly:
    """What has been read of one report. `fields` holds the values of the group that is being read."""

    def __init__(self, limits: Limits, deviations: Deviations) -> None:
        self.deviations = deviations
        self.namespace: str | None = None
        self.frame: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self.done: list[Record] = []
        """Records since the last batch was taken."""
        self.closed = False
        """The report has come to its proper end."""
        self.met = self.kept = self.messages = self.passed = 0
        """Records met and kept; messages, and those that passed, of the kept."""
        self._limits = limits
        self._errors: list[str] = []
        self._frame_extensions: list[tuple[str, str]] = []
        self.begin_record()

    def restart(self) -> None:
        """Forget the frame: it is going to be read again."""
        self.frame.clear()
        self._errors.clear()
        self._frame_extensions.clear()
        self.begin_record()

    def keep(self, key: str, value: str) -> None:
        """A value that is over 255 characters long; the usual ones are put into `fields` directly."""
        limit = self._limits.comment if key == "comment" else self._limits.text
        if len(value) > limit:
            self.deviations.note(Deviation.TEXT_CUT)
        self.fields[key] = value[:limit]

    def begin_record(self) -> None:
        """Forget what was read of the record before."""
        self.fields.clear()
        self._auth: list[AuthResult] = []
        self._overrides: list[Override] = []
        self._extensions: list[tuple[str, str]] = []
        self._evaluated = False
        self._spf_results = 0

    def close_feedback(self) -> None:
        """`feedback` ended."""
        self.closed = True

    def close_frame_group(self) -> None:
        """The frame's values come in groups; each moves into the frame as it ends."""
        self.frame.update(self.fields)
        self.fields.clear()

    def close_error(self) -> None:
        """An `error` of the metadata ended."""
        if len(self._errors) < self._limits.reasons:
            self._errors.append(self.fields.pop("error"))

    def add_extension(self, name: str, *, in_record: bool) -> None:
        """An element that the standards do not know; its text was kept under `extension`."""
        text = self.fields.pop("extension")
        found = self._extensions if in_record else self._frame_extensions
        if text and len(found) < self._limits.extensions:
            found.append((name[:100], text))
        self.deviations.note(Deviation.ELEMENT_UNKNOWN)

    def add_planned(
        self,
        fields: Iterable[tuple[str, int]],
        auth: Iterable[tuple[AuthKind, Callable[[Sequence[str | None]], tuple[str | None, ...]]]],
        reasons: Iterable[Callable[[Sequence[str | None]], tuple[str | None, ...]]],
        texts: Sequence[str | None],
    ) -> None:
        """The values of a record whose arrangement is known (see `dmarc/regular.py`)."""
        for key, at in fields:
            self.fields[key] = texts[at] or ""
        for kind, pick in auth:
            self._add_result(kind, *pick(texts))
        for pick in reasons:
            self._add_reason(*pick(texts))

    def add_repeated(self, address: str, count: int, rest: tuple[Any, ...], odd: Iterable[Deviation]) -> None:
        """A record of which all but address and count was met before (see `dmarc/regular.py`)."""
        source_ip, odd_ip = values.source_ip(address)
        if odd_ip is not None:
            self.deviations[odd_ip] += 1
        if not count:
            self.deviations[Deviation.COUNT_ZERO] += 1
        for deviation in odd:
            self.deviations[deviation] += 1
        self._keep(Record(self._next_ordinal(), source_ip, count, *rest))

    def close_reason(self) -> None:
        """A `reason` ended."""
        self._add_reason(self.fields.pop("reason", None), self.fields.pop("comment", None))

    def _add_reason(self, text: str | None, comment: str | None) -> None:
        kind = values.token(text)
        if kind not in _REASONS:
            self.deviations.note(Deviation.REASON_UNKNOWN)
        if len(self._overrides) < self._limits.reasons:
            self._overrides.append(Override(kind, comment or None))

    def close_evaluated(self) -> None:
        """`policy_evaluated` ended: the record has one."""
        self._evaluated = True

    def close_identities(self) -> None:
        """`identifiers` ended, under the name that some reporters give it."""
        self.deviations.note(Deviation.IDENTITIES)

    def close_dkim(self) -> None:
        """A `dkim` of `auth_results` ended."""
        self._add_result(AuthKind.DKIM, *self._auth_values())

    def close_spf(self) -> None:
        """An `spf` of `auth_results` ended."""
        self._add_result(AuthKind.SPF, *self._auth_values())

    def _auth_values(self) -> tuple[str | None, ...]:
        take = self.fields.pop
        return (
            take("auth_domain", None),
            take("auth_selector", None),
            take("auth_scope", None),
            take("auth_result", None),
            take("auth_human_result", None),
        )

    def _add_result(self, kind: AuthKind, *texts: str | None) -> None:
        self._spf_results += kind is AuthKind.SPF
        result, odd = values.auth_result(kind, *texts)
        for deviation in odd:
            self.deviations[deviation] += 1
        if len(self._auth) < self._limits.dkim_results + self._limits.spf_results:
            self._auth.append(result)
        else:
            self.deviations.note(Deviation.TOO_MANY_RESULTS)

    def close_record(self) -> None:
        """A record ended: keep it, unless its count is none."""
        ordinal = self._next_ordinal()
        count = values.count(self.fields.get("count"))
        if count is None:
            self.deviations.note(Deviation.RECORD_REFUSED)
        else:
            self._keep(self._record(ordinal, count))
        self.begin_record()

    def _next_ordinal(self) -> int:
        ordinal = self.met
        self.met += 1
        if ordinal >= self._limits.records:
            raise LimitExceeded(f"more than {self._limits.records} records")
        return ordinal

    def _keep(self, record: Record) -> None:
        self.done.append(record)
        self.kept += 1
        self.messages += record.messages
        if record.dkim_aligned or record.spf_aligned:
            self.passed += record.messages

    def _record(self, ordinal: int, count: int) -> Record:
        fields = self.fields
        get = fields.get
        source_ip, odd_ip = values.source_ip(get("source_ip"))
        disposition, odd_disposition = values.disposition(get("disposition"))
        dkim, odd_dkim = values.aligned(get("dkim"))
        spf, odd_spf = values.aligned(get("spf"))
        for odd in (odd_ip, odd_disposition, odd_dkim, odd_spf):
            if odd is not None:
                self.deviations[odd] += 1
        header_from = values.domain(get("header_from"))
        self._note_record(count, header_from)
        return Record(
            ordinal,
            source_ip,
            count,
            disposition,
            dkim,
            spf,
            header_from,
            (values.domain(get("envelope_from")) or "") if "envelope_from" in fields else None,
            values.domain(get("envelope_to")),
            tuple(self._auth),
            tuple(self._overrides),
            tuple(self._extensions),
        )

    def _note_record(self, count: int, header_from: str | None) -> None:
        note = self.deviations.note
        if not count:
            note(Deviation.COUNT_ZERO)
        if header_from is None:
            note(Deviation.HEADER_FROM_MISSING)
        if not self._evaluated:
            note(Deviation.POLICY_EVALUATED_MISSING)
        if self._spf_results > 1:
            note(Deviation.SPF_RESULTS_MANY)

    @property
    def report(self) -> AggregateReport:
        """The frame, with the sums of the records read so far."""
        get = self.frame.get
        begin, end = self._period()
        return AggregateReport(
            org_name=get("org_name") or None,
            email=get("email") or None,
            extra_contact_info=get("extra_contact_info") or None,
            report_id=get("report_id") or None,
            begin=begin,
            end=end,
            errors=tuple(self._errors),
            generator=get("generator") or None,
            version=get("version") or None,
            namespace=self.namespace,
            policy=self._policy(),
            extensions=tuple(self._frame_extensions),
            records=self.kept,
            messages=self.messages,
            passed=self.passed,
        )

    def _period(self) -> tuple[int | None, int | None]:
        begin, _ = values.instant(self.frame.get("begin"))
        end, _ = values.instant(self.frame.get("end"))
        return (end, begin) if begin is not None and end is not None and end < begin else (begin, end)

    def _policy(self) -> Policy:
        get = self.frame.get
        testing = values.token(get("testing"))
        return Policy(
            domain=values.domain(get("policy_domain")),
            p=values.token(get("p")),
            sp=values.token(get("sp")),
            np=values.token(get("np")),
            adkim=values.token(get("adkim")),
            aspf=values.token(get("aspf")),
            pct=values.count(get("pct")),
            fo=values.token(get("fo")),
            testing=None if testing is None else testing in ("y", "yes", "true", "1"),
            discovery_method=values.token(get("discovery_method")),
        )

    def note_frame(self) -> None:
        """Note what is odd about the frame; once, at the end."""
        get, note = self.frame.get, self.deviations.note
        missing = {
            "org_name": Deviation.ORG_NAME_MISSING,
            "report_id": Deviation.REPORT_ID_MISSING,
            "policy_domain": Deviation.POLICY_DOMAIN_MISSING,
        }
        for key, deviation in missing.items():
            if not get(key):
                note(deviation)
        if get("version") not in _VERSIONS:
            note(Deviation.VERSION_UNKNOWN)
        if not self.met:
            note(Deviation.NO_RECORDS)
        if {values.token(get(name)) for name in ("p", "sp", "np")} - _POLICIES or not values.token(get("p")):
            note(Deviation.POLICY_UNKNOWN)
        self._note_period()

    def _note_period(self) -> None:
        note = self.deviations.note
        (begin, odd_begin), (end, odd_end) = (values.instant(self.frame.get(key)) for key in ("begin", "end"))
        for odd in {odd_begin, odd_end}:
            if odd is not None:
                note(odd)
        if begin is None or end is None:
            return
        if end < begin:
            note(Deviation.PERIOD_SWAPPED)
        elif begin == end:
            note(Deviation.PERIOD_EMPTY)
        elif end - begin > _LONG_PERIOD:
            note(Deviation.PERIOD_LONG)
