"""The public blocklists (DNSBL) that mail servers name when they refuse: their zones, and finding one in a reply.

A zone is evidence, so templates keep it where other host names are lifted out. Zones of lists that have closed stay
here: servers that were configured long ago still name them.
"""

from __future__ import annotations

import re

__all__ = ["ZONES", "find_blocklist", "zone_of"]

ZONES: dict[str, str] = {
    "zen.spamhaus.org": "Spamhaus ZEN",
    "sbl.spamhaus.org": "Spamhaus SBL",
    "xbl.spamhaus.org": "Spamhaus XBL",
    "pbl.spamhaus.org": "Spamhaus PBL",
    "sbl-xbl.spamhaus.org": "Spamhaus SBL-XBL",
    "css.spamhaus.org": "Spamhaus CSS",
    "dbl.spamhaus.org": "Spamhaus DBL",
    "spamhaus.org": "Spamhaus",
    "spamhaus.net": "Spamhaus",
    "spamhaus.com": "Spamhaus",
    "dq.spamhaus.net": "Spamhaus DQS",
    "spamcop.net": "SpamCop",
    "barracudacentral.org": "Barracuda BRBL",
    "barracudacentral.com": "Barracuda BRBL",
    "surbl.org": "SURBL",
    "uribl.com": "URIBL",
    "sorbs.net": "SORBS",
    "abuseat.org": "CBL",
    "uceprotect.net": "UCEPROTECT",
    "backscatterer.org": "Backscatterer",
    "psbl.surriel.com": "PSBL",
    "surriel.com": "PSBL",
    "psbl.org": "PSBL",
    "mailspike.net": "Mailspike",
    "mailspike.org": "Mailspike",
    "manitu.net": "NiX Spam",
    "invaluement.com": "Invaluement",
    "spfbl.net": "SPFBL",
    "spamrats.com": "SpamRATS",
    "gbudb.net": "Truncate",
    "junkemailfilter.com": "Hostkarma",
    "hostkarma.com": "Hostkarma",
    "0spam.org": "0Spam",
    "blocklist.de": "blocklist.de",
    "s5h.net": "s5h",
    "dronebl.org": "DroneBL",
    "efnetrbl.org": "EFnet RBL",
    "tornevall.org": "Tornevall",
    "wpbl.info": "WPBL",
    "ahbl.org": "AHBL",
    "njabl.org": "NJABL",
    "ordb.org": "ORDB",
    "dsbl.org": "DSBL",
    "mail-abuse.org": "MAPS",
    "mail-abuse.com": "MAPS",
    "senderbase.org": "Cisco SenderBase",
    "talosintelligence.com": "Cisco Talos",
    "senderscore.com": "Sender Score",
    "senderscore.org": "Sender Score",
    "senderscore.net": "Sender Score",
    "spameatingmonkey.com": "Spam Eating Monkey",
    "spameatingmonkey.net": "Spam Eating Monkey",
    "cloudmark.com": "Cloudmark",
    "abusix.zone": "Abusix",
    "abusix.com": "Abusix",
    "abusix.org": "Abusix",
    "scientificspam.net": "Scientific Spam",
    "nordspam.com": "NordSpam",
    "lashback.com": "LashBack",
    "unsubscore.com": "LashBack",
    "dnsrbl.org": "DNSRBL",
    "anonmails.de": "anonmails",
    "rfc-ignorant.org": "RFC-Ignorant",
    "rfc-clueless.org": "RFC-Clueless",
    "rfc-ignorant.de": "RFC-Ignorant",
    "inps.de": "inps.de",
    "imp.ch": "imp.ch",
    "kempt.net": "Kempt",
    "zapbl.net": "ZapBL",
    "cymru.com": "Team Cymru",
    "services.net": "Services.net",
    "dan.me.uk": "dan.me.uk",
    "rbl.jp": "RBL.JP",
    "mcafee.com": "McAfee",
    "trustedsource.org": "McAfee TrustedSource",
    "brightmail.com": "Symantec Brightmail",
    "suomispam.net": "Suomispam",
    "woody.ch": "Woody",
    "interserver.net": "InterServer",
    "fabel.dk": "Fabel",
    "bit.nl": "BIT",
    "gremlin.ru": "Gremlin",
    "spamsources.fabel.dk": "Fabel",
    "hostedemail.com": "Hostedemail",
    "ix.dnsbl.manitu.net": "NiX Spam",
    "polspam.pl": "Polspam",
    "rbl.cluecentral.net": "Cluecentral",
    "dnsbl.net.au": "dnsbl.net.au",
    "team-cymru.org": "Team Cymru",
}
"""Zone or page of a list, without the part in front that is looked up, to the name that people know."""

_HOST = re.compile(r"(?:[\w-]{1,63}\.){1,12}[a-z]{2,24}", re.IGNORECASE)
_ASKED = re.compile(
    r"(?:using|by|in|at|on|from|via|listed|rbl|dnsbl|blacklist|blocklist):? {1,2}"
    r"\(?((?:[\w-]{1,63}\.){1,8}[a-z]{2,24})\b",
    re.IGNORECASE,
)
_LISTISH = re.compile(
    r"(?:^|[.-])(?:d?nsbl|dnsrbl|rbl|bl|dbl|rhsbl|uribl|blacklist|blocklist|ip4?bl|spam|black|block)\d?[.-]"
)
_NAMES = re.compile(
    r"\b(spamhaus|spamcop|barracuda|sorbs|surbl|uribl|uceprotect|cloudmark|senderscore|sender score|senderbase|abusix"
    r"|invaluement|mailspike|spamrats|trustedsource|brightmail|psbl|njabl|talos|truncate|spfbl|hostkarma)\b",
    re.IGNORECASE,
)
_BY_NAME = {
    **{name.partition(" ")[0].lower(): name for name in ZONES.values() if not name.startswith("Spamhaus ")},
    "barracuda": "Barracuda BRBL",
    "senderscore": "Sender Score",
    "sender score": "Sender Score",
    "senderbase": "Cisco SenderBase",
    "talos": "Cisco Talos",
    "trustedsource": "McAfee TrustedSource",
    "brightmail": "Symantec Brightmail",
}


def zone_of(host: str) -> str | None:
    """The longest known zone that `host` (in lower case) is or lies under; None for an ordinary host."""
    rest = host
    while rest:
        if rest in ZONES:
            return rest
        rest = rest.partition(".")[2]
    return None


def find_blocklist(text: str) -> str | None:
    """The list that a reply names: its known name, else the host that the server says it asked; None if none."""
    for found in _HOST.finditer(text):
        if zone := zone_of(found[0].lower()):
            return ZONES[zone]
    if named := _NAMES.search(text):
        return _BY_NAME[named[1].lower()]
    for asked in _ASKED.finditer(text):
        if _LISTISH.search(asked[1].lower()):
            return asked[1].lower()
    return None
