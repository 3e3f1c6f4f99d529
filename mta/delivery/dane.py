"""DANE for SMTP (RFC 7672): whether a host's certificates are the ones that its TLSA records name. Pure.

Only records that DNSSEC vouches for may be passed in: who asks is answerable for that. Usable are DANE-TA(2) and
DANE-EE(3) with the whole certificate or its public key, in full or as SHA-256 or SHA-512. Expiry and names do not
matter for DANE-EE, names do for DANE-TA (section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mta.delivery.certificate import has_name

__all__ = ["TlsaRecord", "matches", "usable"]

_TRUST_ANCHOR, _END_ENTITY = 2, 3
_DIGESTS: dict[int, Callable[[bytes], bytes]] = {
    0: lambda data: data,
    1: lambda data: sha256(data).digest(),
    2: lambda data: sha512(data).digest(),
}


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """One TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def fits(self, certificate: x509.Certificate) -> bool:
        """Whether that certificate is the one that the record names."""
        if self.selector == 0:
            data = certificate.public_bytes(Encoding.DER)
        else:
            data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _DIGESTS[self.matching](data) == self.data


def usable(records: Sequence[TlsaRecord]) -> tuple[TlsaRecord, ...]:
    """Those that mean something for SMTP. If there are records and none is usable, TLS is needed and proves nothing."""
    return tuple(r for r in records if r.usage in {2, 3} and r.selector in {0, 1} and r.matching in _DIGESTS)


def matches(records: Sequence[TlsaRecord], chain: Sequence[x509.Certificate], names: Sequence[str]) -> bool:
    """Whether a record vouches for the host: `chain` begins with its certificate, `names` are those it may have."""
    if not chain:
        return False
    host, *issuers = chain
    if any(record.usage == _END_ENTITY and record.fits(host) for record in records):
        return True
    anchors = [record for record in records if record.usage == _TRUST_ANCHOR]
    return bool(anchors) and any(has_name(host, name) for name in names) and _is_anchored(anchors, host, issuers)


def _is_anchored(anchors: Sequence[TlsaRecord], host: x509.Certificate, issuers: Sequence[x509.Certificate]) -> bool:
    """Whether a chain of issuers leads from the host's certificate to one that a record names (section 3.1.2)."""
    current = host
    for issuer in issuers:
        try:
            current.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            return False
        if any(record.fits(issuer) for record in anchors):
            return True
        current = issuer
    return False
