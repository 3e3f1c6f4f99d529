"""Calls to a mailbox service that speaks REST with bearer tokens: bounded, and with one kind of error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from dmarc.errors import MailboxError
from dmarc.mailbox.oauth import TokenSource

__all__ = ["RestClient"]

_TIMEOUT = 60.0
_JSON_LIMIT = 4 * 1024 * 1024


class RestClient:
    """Asks one service. Every method raises MailboxError."""

    def __init__(self, base_url: str, tokens: TokenSource) -> None:
        self._base = base_url.rstrip("/")
        self._tokens = tokens
        self._http = httpx.Client(timeout=_TIMEOUT)

    def get(self, url: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON object. `url` is a path below the base, or a whole address that the service gave for the next page."""
        return self._json(self.content("GET", url, _JSON_LIMIT, params=parameters))

    def post(self, url: str, body: object) -> dict[str, Any]:
        """The answer to a JSON body; {} where there is none."""
        answer = self.content("POST", url, _JSON_LIMIT, json=body)
        return self._json(answer) if answer else {}

    def content(self, method: str, url: str, limit: int, **options: Any) -> bytes:
        """The answer's body, cut behind `limit` bytes."""
        whole = url if url.startswith(("https://", "http://")) else f"{self._base}{url}"
        if not whole.startswith(f"{self._base}/"):
            raise MailboxError("the service sends us elsewhere", where=whole[:200])
        headers = {"Authorization": f"Bearer {self._tokens.token()}"}
        try:
            with self._http.stream(method, whole, headers=headers, **options) as answer:
                if not answer.is_success:
                    raise MailboxError(f"answers {answer.status_code}{_later(answer)}", where=whole.partition("?")[0])
                content = b""
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > limit:
                        return content[: limit + 1]
                return content
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MailboxError(f"does not answer: {error}", where=whole.partition("?")[0]) from error

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _json(self, content: bytes) -> dict[str, Any]:
        try:
            found = httpx.Response(200, content=content).json()
        except ValueError as error:
            raise MailboxError("answers with something that is no JSON", where=self._base) from error
        if not isinstance(found, dict):
            raise MailboxError("answers with something unexpected", where=self._base)
        return found


def _later(answer: httpx.Response) -> str:
    wait = answer.headers.get("retry-after", "")
    return f": too many calls, try again in {wait[:20]} s" if wait else ""
