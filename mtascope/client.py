"""Asking the store: through the live owner's socket if there is one, else by opening the file itself.

httpx takes long to load, so it is imported when there is somebody to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mta.events.errors import MtascopeError, SettingsError

if TYPE_CHECKING:
    import httpx

    from mtascope.settings import DataFolder

__all__ = ["OwnerClient", "OwnerUnavailable", "ask_socket", "call_socket", "connect"]


class OwnerUnavailable(MtascopeError):
    """The owner did not answer."""

    temporary = True


class OwnerClient:
    """The owner's API over its socket. Each call returns decoded JSON or raises a named error."""

    def __init__(self, path: Path, timeout: float | None = 30.0) -> None:
        import httpx

        self._path = path
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost", timeout=timeout
        )

    def get(self, url: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """GET; parameters that are None are left out. A list is fetched with all its pages."""
        wanted = {name: value for name, value in (parameters or {}).items() if value is not None}
        response = self._response("GET", url, params=wanted)
        answer = response.json()
        while isinstance(answer, list) and "next" in response.links and "limit" not in wanted:
            response = self._response("GET", response.links["next"]["url"])
            answer += response.json()
        return answer

    def post(self, url: str, body: Any) -> Any:
        """POST a JSON body."""
        return self._response("POST", url, json=body).json()

    def delete(self, url: str) -> Any:
        """DELETE."""
        return self._response("DELETE", url).json()

    def _response(self, method: str, url: str, **options: Any) -> httpx.Response:
        import httpx

        try:
            response = self._http.request(method, url, **options)
        except httpx.HTTPError as error:
            raise OwnerUnavailable(f"the owner does not answer: {error}", where=str(self._path)) from error
        if response.is_success:
            return response
        content = response.json() if response.headers.get("content-type") == "application/json" else {}
        message = content.get("error") or content.get("detail") or response.reason_phrase
        raise SettingsError(str(message)) if response.status_code < 500 else OwnerUnavailable(str(message))


def ask_socket(path: Path, url: str, timeout: float = 1.0) -> httpx.Response:
    """GET from whatever serves HTTP on a unix socket (an MTA worker's control, say); raises httpx.HTTPError."""
    import httpx

    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=timeout) as client:
        return client.get(f"http://localhost{url}").raise_for_status()


def call_socket(path: Path, method: str, url: str, body: Any = None, timeout: float = 30.0) -> Any:
    """The JSON that whatever serves HTTP on a unix socket answers; raises httpx.HTTPError."""
    import httpx

    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=timeout) as client:
        return client.request(method, f"http://localhost{url}", json=body).raise_for_status().json()


def connect(folder: DataFolder, timeout: float | None = 30.0) -> OwnerClient | None:
    """A client of the live owner of this data directory; None when nobody owns it."""
    if not folder.owner_socket.exists():
        return None
    client = OwnerClient(folder.owner_socket, timeout)
    try:
        client.get("/healthz")
    except OwnerUnavailable:
        return None
    return client
