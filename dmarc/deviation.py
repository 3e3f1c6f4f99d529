"""How real reports differ from the standards: each deviation that is met gets a stable code.

A deviation is understood and read; the code tells the operator (and whoever writes the reporter's software) about it.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

__all__ = ["Deviation", "Deviations"]


class Deviation(StrEnum):
    """Codes as they appear in `warnings`."""

    BLANK_BEFORE_XML = "blank_before_xml"
    BYTE_ORDER_MARK = "byte_order_mark"
    CONTAINER_CUT = "container_cut"
    """The gzip or zip stream ended early or was damaged at the end."""
    CONTAINER_TRAILING_BYTES = "container_trailing_bytes"
    COUNT_ZERO = "count_zero"
    DKIM_DOMAIN_MISSING = "dkim_domain_missing"
    DKIM_SELECTOR_MISSING = "dkim_selector_missing"
    DISPOSITION_UNKNOWN = "disposition_unknown"
    ENCODING = "encoding"
    """Neither UTF-8 nor US-ASCII."""
    ELEMENT_UNKNOWN = "element_unknown"
    FEEDBACK_TYPE = "feedback_type"
    """A feedback report that is not about authentication."""
    FIELD_MISSING = "field_missing"
    HEADER_FROM_MISSING = "header_from_missing"
    IDENTITIES = "identities"
    """`identities` where the schema says `identifiers`."""
    LETTER_CASE = "letter_case"
    NAMESPACE_UNKNOWN = "namespace_unknown"
    NO_RECORDS = "no_records"
    ORG_NAME_MISSING = "org_name_missing"
    PERIOD_LONG = "period_long"
    """More than a day and five minutes."""
    PERIOD_EMPTY = "period_empty"
    PERIOD_MISSING = "period_missing"
    PERIOD_SWAPPED = "period_swapped"
    PLAIN_TEXT = "plain_text"
    """A failure report without a machine-readable part."""
    POLICY_DOMAIN_MISSING = "policy_domain_missing"
    POLICY_EVALUATED_MISSING = "policy_evaluated_missing"
    POLICY_UNKNOWN = "policy_unknown"
    REASON_UNKNOWN = "reason_unknown"
    RECORD_DAMAGED = "record_damaged"
    """Its markup was broken, or cut off: the record is lost, its neighbours are kept."""
    RECORD_REFUSED = "record_refused"
    """Its count is no count: the record is left out."""
    REPAIRED_TEXT = "repaired_text"
    """Bytes that are no text, or a bare `&` or `<`, were made readable."""
    REPORT_ID_MISSING = "report_id_missing"
    RESULT_EMPTY = "result_empty"
    RESULT_UNKNOWN = "result_unknown"
    SOURCE_IP_FORM = "source_ip_form"
    """Zero-padded, mapped or otherwise not canonical; read all the same."""
    SOURCE_IP_MISSING = "source_ip_missing"
    SOURCE_IP_UNREADABLE = "source_ip_unreadable"
    SPF_RESULTS_MANY = "spf_results_many"
    SPF_SCOPE_MISSING = "spf_scope_missing"
    TEXT_CUT = "text_cut"
    TIME_FORMAT = "time_format"
    """Milliseconds or ISO 8601 where seconds belong."""
    TOO_MANY_RESULTS = "too_many_results"
    VERSION_UNKNOWN = "version_unknown"
    XML_CUT = "xml_cut"
    XML_MALFORMED = "xml_malformed"


class Deviations(Counter[Deviation]):
    """How often each deviation was met in one report."""

    def note(self, deviation: Deviation) -> None:
        """One more."""
        self[deviation] += 1

    def codes(self) -> tuple[str, ...]:
        """The codes met, in alphabetical order."""
        return tuple(sorted(code.value for code in self))
