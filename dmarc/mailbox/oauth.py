"""Access tokens for mailboxes that want OAuth 2 (RFC 6749): read from a file, or asked for.

A token is asked for anew when less than a minute of it is left. Three grants are known: a refresh token (a person
consented once), client credentials (Microsoft 365, application permissions) and a signed assertion (RFC 7523: a Google
service account that may act for a mailbox). Secrets come from files and appear in no message.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson

from dmarc.errors import MailboxError
from dmarc.settings import OAuthSettings
from mta.events.instants import SECOND

__all__ = ["TokenFile", "TokenGrant", "TokenSource", "token_source"]

_SPARE = 60 * SECOND
_ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_LIFE = 3600


class TokenSource(Protocol):
    """Where access tokens come from."""

    def token(self) -> str:
        """One that is good now. Raises MailboxError."""


class TokenFile:
    """A token that somebody else keeps fresh: read each time, so that a new one counts at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def token(self) -> str:
        """What the file holds."""
        return _secret(self._path)


class TokenGrant:
    """Asks the token endpoint. `clock` gives the present instant."""

    def __init__(self, settings: OAuthSettings, clock: Callable[[], int], http: httpx.Client | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._http = http or httpx.Client(timeout=30)
        self._token = ""
        self._good_until = 0

    def token(self) -> str:
        """The one at hand while it is good, else a new one."""
        if self._clock() > self._good_until - _SPARE:
            self._ask()
        return self._token

    def _ask(self) -> None:
        url = self._settings.token_url or ""
        try:
            answer = self._http.post(url, data=self._form())
            content: Any = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise MailboxError(f"no token: {error}", where=url) from error
        if not answer.is_success or not isinstance(content, dict) or not isinstance(content.get("access_token"), str):
            code = content.get("error") if isinstance(content, dict) else None
            raise MailboxError(
                f"no token: {answer.status_code} {code or ''}".rstrip(), where=url, remedy="see oauth of this mailbox"
            )
        self._token = content["access_token"]
        seconds = content.get("expires_in")
        self._good_until = self._clock() + int(seconds if isinstance(seconds, int | float) else 300) * SECOND

    def _form(self) -> dict[str, str]:
        settings = self._settings
        if settings.service_account_file is not None:
            assertion = _assertion(settings, self._clock() // SECOND)
            return {"grant_type": _ASSERTION, "assertion": assertion}
        form = {"client_id": settings.client_id or "", "scope": settings.scope}
        if settings.client_secret_file is not None:
            form["client_secret"] = _secret(settings.client_secret_file)
        if settings.refresh_token_file is None:
            return form | {"grant_type": "client_credentials"}
        return form | {"grant_type": "refresh_token", "refresh_token": _secret(settings.refresh_token_file)}


def token_source(settings: OAuthSettings, clock: Callable[[], int]) -> TokenSource:
    """The source that these settings describe."""
    return TokenFile(settings.token_file) if settings.token_file is not None else TokenGrant(settings, clock)


def _assertion(settings: OAuthSettings, now: int) -> str:
    """A JSON Web Token that the service account signs (RFC 7519, RS256)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    where = str(settings.service_account_file)
    try:
        account = orjson.loads(_secret(Path(where)))
        key = load_pem_private_key(account["private_key"].encode(), None)
        claims = {"iss": account["client_email"], "scope": settings.scope, "aud": settings.token_url}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MailboxError("is no service account file", where=where) from error
    if not isinstance(key, RSAPrivateKey):
        raise MailboxError("the service account's key is not RSA", where=where)
    claims |= {"iat": now, "exp": now + _ASSERTION_LIFE} | ({"sub": settings.subject} if settings.subject else {})
    signed = b".".join((_part({"alg": "RS256", "typ": "JWT"}), _part(claims)))
    return (signed + b"." + _base64(key.sign(signed, PKCS1v15(), hashes.SHA256()))).decode()


def _part(content: Any) -> bytes:
    return _base64(orjson.dumps(content))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _secret(path: Path) -> str:
    try:
        return path.read_text("utf8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MailboxError("cannot be read", where=str(path)) from error
