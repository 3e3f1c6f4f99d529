"""What a mail host's certificate says: its chain, its names, and whether the public trust store vouches for it.

OpenSSL checks certificates during the handshake where that is asked for. This module is for connections that go on
whatever the certificate is, and want to know: would it have held?
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

__all__ = ["chain_of", "failure", "has_name", "trust_store"]


def chain_of(connection: Any) -> list[x509.Certificate]:
    """What the peer showed, its own certificate first; empty if it showed none or nothing readable."""
    try:
        return [x509.load_der_x509_certificate(data) for data in _der_chain(connection)]
    except ValueError:
        return []


def _der_chain(connection: ssl.SSLObject) -> list[bytes]:
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:  # Python 3.13 and later
        return list(public() or ())
    inner = getattr(connection, "_sslobj", None)
    if inner is not None:  # the same, not yet public
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in inner.get_unverified_chain() or ()]
    own = connection.getpeercert(binary_form=True)
    return [own] if own else []


def has_name(certificate: x509.Certificate, host: str) -> bool:
    """Whether one of its DNS names is the host's; a wildcard stands for one whole first label (RFC 6125)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    wanted = host.lower().rstrip(".")
    parent = "*." + wanted.partition(".")[2]
    return any(name.lower().rstrip(".") in {wanted, parent} for name in names.get_values_for_type(x509.DNSName))


@lru_cache(maxsize=4)
def trust_store(file: Path | None = None) -> Store | None:
    """The authorities in a PEM file, or the system's; None if there are none to trust."""
    context = ssl.create_default_context(cafile=str(file) if file else None)
    authorities = []
    with warnings.catch_warnings(action="ignore"):  # some old roots are not quite what the standard wants
        for data in context.get_ca_certs(binary_form=True):
            with suppress(ValueError):
                authorities.append(x509.load_der_x509_certificate(data))
    return Store(authorities) if authorities else None


def failure(chain: Sequence[x509.Certificate], host: str, store: Store | None, now: int) -> str | None:
    """Why the certificate does not hold for that name at an instant, by RFC 8460 section 4.3; None if it does."""
    if not chain:
        return "validation-failure"
    moment = datetime.fromtimestamp(now / 1_000_000, UTC)
    if not chain[0].not_valid_before_utc <= moment <= chain[0].not_valid_after_utc:
        return "certificate-expired"
    if not has_name(chain[0], host):
        return "certificate-host-mismatch"
    if store is None:
        return "certificate-not-trusted"
    try:
        verifier = PolicyBuilder().store(store).time(moment).build_server_verifier(x509.DNSName(host))
        verifier.verify(chain[0], list(chain[1:]))
    except (VerificationError, ValueError):
        return "certificate-not-trusted"
    return None
