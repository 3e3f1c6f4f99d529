"""MTA-STS (RFC 8461): what a domain says about TLS to its mail hosts, fetched over HTTPS and kept.

Reading a policy is pure. `StsPolicies` looks policies up: the TXT record tells whether there is one and when it
changed, the policy is fetched when it did or is about to run out, and a policy that was had once holds until it runs
out, whatever DNS and HTTPS say meanwhile (section 5.1). Policies are kept in files, which the workers of a machine
share.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path

import orjson
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, NoAnswer

from mta.delivery.errors import PolicyError
from mta.delivery.shared_file import replace_file
from mta.events.instants import DAY, HOUR, MINUTE, SECOND
from mta.queue.message import Clock

__all__ = ["Fetch", "StsMode", "StsPolicies", "StsPolicy", "read_policy", "read_record"]

_LOG = logging.getLogger(__name__)
_RECORD = re.compile(r"v=STSv1\s*;(?:.*;)?\s*id=([A-Za-z0-9]{1,32})\s*(?:;.*)?", re.DOTALL)
_MX = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_MAX_AGE = 31_557_600
_MAX_HOSTS = 100
_KNOWN = 10_000
_RECORD_HOLDS = HOUR
_NO_RECORD_HOLDS = 10 * MINUTE
_AFTER_FAILURE = 5 * MINUTE
_RENEW_BEFORE = DAY

Texts = Callable[[str], Awaitable[list[str]]]
"""The TXT records of a name; dnspython's exceptions."""

Fetch = Callable[[str], Awaitable[bytes]]
"""The policy file of a domain. Raises `PolicyError`."""


class StsMode(Enum):
    """What follows when no mail host can be had as the policy wants."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A domain's policy. `expires` is an instant, `id` that of the record for which it was fetched."""

    domain: str
    mode: StsMode
    hosts: tuple[str, ...]
    id: str
    expires: int

    def allows(self, host: str) -> bool:
        """Whether mail may go to that host: a wildcard stands for one label (section 4.1)."""
        name = host.lower().rstrip(".")
        return name in self.hosts or f"*.{name.partition('.')[2]}" in self.hosts


def read_record(texts: list[str]) -> str | None:
    """The id in the one `_mta-sts` record; None if there is none or more than one (section 3.1)."""
    ours = [text for text in texts if text.startswith("v=STSv1")]
    found = _RECORD.fullmatch(ours[0].strip()) if len(ours) == 1 else None
    return found[1] if found else None


def read_policy(content: bytes, domain: str, record_id: str, now: int) -> StsPolicy:
    """The policy in a file (section 3.2). Raises `PolicyError` that says what is wrong with it."""
    try:
        lines = content.decode("utf8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise PolicyError("the MTA-STS policy is no UTF-8", where=domain) from error
    pairs = [(key.strip(), value.strip()) for key, colon, value in (line.partition(":") for line in lines) if colon]
    fields = dict(reversed(pairs))  # of repeated fields the first counts
    hosts = tuple(value.lower().rstrip(".") for key, value in pairs if key == "mx")
    modes = {mode.value: mode for mode in StsMode}
    if fields.get("version") != "STSv1":
        raise PolicyError("the MTA-STS policy has no version STSv1", where=domain)
    if fields.get("mode") not in modes:
        raise PolicyError("the MTA-STS policy has no mode that is known", where=domain)
    mode = modes[fields["mode"]]
    age = fields.get("max_age", "")
    if not age.isdecimal() or len(age) > len(str(_MAX_AGE)) + 2:
        raise PolicyError("the MTA-STS policy has no max_age", where=domain)
    if mode is not StsMode.NONE and (not hosts or len(hosts) > _MAX_HOSTS or not all(map(_MX.fullmatch, hosts))):
        raise PolicyError("the MTA-STS policy names no mail hosts that can be read", where=domain)
    return StsPolicy(domain, mode, hosts, record_id, now + min(int(age), _MAX_AGE) * SECOND)


@dataclass(slots=True)
class _Known:
    """What is known of a domain, and until when nobody needs to look again."""

    policy: StsPolicy | None
    look_again: int


class StsPolicies:
    """Looks policies up and keeps them. `problems` counts what went wrong, by the words of RFC 8460."""

    def __init__(self, texts: Texts, fetch: Fetch, folder: Path, clock: Clock) -> None:
        self._texts = texts
        self._fetch = fetch
        self._folder = folder
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self.problems: dict[str, int] = {"sts-policy-fetch-error": 0, "sts-policy-invalid": 0}

    async def policy(self, domain: str) -> StsPolicy | None:
        """What holds for mail to that domain; None if it has no policy or wants none to hold."""
        now = self._clock()
        known = self._known.get(domain)
        if known is None:
            known = self._known[domain] = _Known(self._read(domain), 0)
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        if known.look_again <= now:
            known.look_again = now + _AFTER_FAILURE  # also keeps others from asking at the same time
            known.look_again = await self._renew(domain, known)
        policy = known.policy
        return policy if policy and policy.expires > self._clock() and policy.mode is not StsMode.NONE else None

    async def _renew(self, domain: str, known: _Known) -> int:
        """Look again. When to do so next."""
        now = self._clock()
        try:
            found = read_record(await self._texts(f"_mta-sts.{domain}"))
        except (NXDOMAIN, NoAnswer):
            found = None
        except DNSException:
            return now + _AFTER_FAILURE
        if found is None:
            return now + _NO_RECORD_HOLDS
        if known.policy and known.policy.id == found and known.policy.expires > now + _RENEW_BEFORE:
            return now + _RECORD_HOLDS
        try:
            content = await self._fetch(domain)
        except PolicyError as error:
            self._note("sts-policy-fetch-error", error)
            return now + _AFTER_FAILURE
        try:
            known.policy = read_policy(content, domain, found, now)
        except PolicyError as error:
            self._note("sts-policy-invalid", error)
            return now + _AFTER_FAILURE
        self._write(known.policy)
        return now + _RECORD_HOLDS

    def _note(self, problem: str, error: PolicyError) -> None:
        self.problems[problem] += 1
        _LOG.warning("%s: %s", problem, error)

    # Kept policies

    def _path(self, domain: str) -> Path:
        return self._folder / f"{sha256(domain.encode()).hexdigest()[:32]}.json"

    def _read(self, domain: str) -> StsPolicy | None:
        try:
            said = orjson.loads(self._path(domain).read_bytes())
            said |= {"mode": StsMode(said["mode"]), "hosts": tuple(said["hosts"])}
            policy = StsPolicy(**said)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return policy if policy.domain == domain else None

    def _write(self, policy: StsPolicy) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            content = orjson.dumps({**asdict(policy), "mode": policy.mode.value})
            replace_file(self._path(policy.domain), content)
        except OSError as error:
            _LOG.warning("cannot keep the MTA-STS policy of %s: %s", policy.domain, error)
