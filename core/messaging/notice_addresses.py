"""Addresses of notice channels: what a person typed, judged; as text to be sealed; and as people may see it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from core.errors import BadInput
from core.letters import Address, MailAddress, Security, SlackAddress, shown

RECIPIENTS_MAX = 20
SECURITIES: Mapping[Security, str] = {
    "starttls": "STARTTLS, as on port 587",
    "tls": "TLS from the first byte, as on port 465",
    "none": "none: only for a server on this machine",
}
PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}
"""Usual ones."""

# RFC 5321's dot-string and names of ASCII: no quotes, no spaces, nothing that a header or a command could end at.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?P<domain>{_LABEL}(?:\.{_LABEL})+)")
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


class BadAddress(BadInput):
    """What was typed cannot be the address of a channel; the sentence does not repeat what may be secret."""


def slack(url: str) -> SlackAddress:
    """The address of an incoming webhook: https, or plain http to this machine. Raises BadAddress."""
    cleaned = url.strip()
    try:
        parts = urlsplit(cleaned)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if (
        not host
        or not _is_host(host)
        or port == 0
        or not cleaned.isascii()
        or re.search(r"[\s\x00-\x1f\x7f]", cleaned)
        or len(cleaned) > 2000
    ):
        raise BadAddress("that is no address of a webhook: it looks like https://hooks.slack.com/services/T…/B…/…")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("the address of a webhook carries no user and no password: its path is the secret")
    if parts.scheme == "http" and not is_loopback(host):
        raise BadAddress("the address of a webhook begins with https://: it is a secret, and would travel in the open")
    if parts.scheme not in ("https", "http"):
        raise BadAddress("the address of a webhook begins with https://")
    if parts.path in ("", "/"):
        raise BadAddress("the address of a webhook has a path, such as /services/T…/B…/…: copy it whole")
    return SlackAddress(cleaned)


def mail(
    host: str,
    port: int,
    security: str,
    sender: str,
    recipients: Sequence[str],
    user: str | None = None,
    password: str | None = None,
) -> MailAddress:
    """A mail server, and whom to write to through it. Raises BadAddress."""
    host = host.strip().strip("[]")
    if not _is_host(host):
        raise BadAddress("the mail server is a name or an IP address, such as smtp.example.com")
    if not 1 <= port <= 65535:
        raise BadAddress(f"{port} is no port: mail servers listen on 587 (STARTTLS), 465 (TLS) or 25")
    found: Security | None = next((one for one in SECURITIES if one == security.strip().lower()), None)
    if found is None:
        raise BadAddress(f"{security!r} is no way to secure it: one of {', '.join(SECURITIES)}")
    if found == "none" and not is_loopback(host):
        raise BadAddress(
            "without TLS what is written could be read on the way: only a server on this machine may do so"
        )
    user, password = (user or "").strip() or None, password or None
    if (user is None) != (password is None):
        raise BadAddress("a user needs a password and a password a user; leave both out where the server asks for none")
    if any(re.search(r"[\x00-\x1f\x7f]", value) for value in (user or "", password or "")):
        raise BadAddress("user and password are one line each")
    if not f"{user}{password}".isascii():
        raise BadAddress("user and password are letters without accents, digits and signs: mail servers take ASCII")
    return MailAddress(host, port, found, _mail_address(sender, "the sender"), _recipients(recipients), user, password)


def _recipients(given: Sequence[str]) -> tuple[str, ...]:
    """Each once, in the order given."""
    kept: dict[str, str] = {}
    for place, one in enumerate(given, start=1):
        address = _mail_address(one, f"recipient {place}")
        kept.setdefault(address.casefold(), address)
    if not kept:
        raise BadAddress("mail needs somebody to go to: give one address or more")
    if len(kept) > RECIPIENTS_MAX:
        raise BadAddress(f"{len(kept)} recipients are more than {RECIPIENTS_MAX}: use a list of the mail server's")
    return tuple(kept.values())


def split_recipients(text: str) -> list[str]:
    """Addresses as people type them: by comma, semicolon, space or line."""
    return [part for part in re.split(r"[,;\s]+", text) if part]


def _mail_address(text: str, what: str) -> str:
    cleaned = text.strip()
    found = _MAIL.fullmatch(cleaned)
    if found is None or len(cleaned) > 254 or len(cleaned.rpartition("@")[0]) > 64:
        raise BadAddress(f"{what} is no mail address: it looks like ops@example.com")
    return f"{cleaned.rpartition('@')[0]}@{found['domain'].lower()}"


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return bool(_HOST.fullmatch(host)) and len(host) <= 253
    return True


def is_loopback(host: str) -> bool:
    """Whether that is this machine, as far as the name alone says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def as_shown(address: Address) -> str:
    """What a page, an audit entry or a log may say of it."""
    if isinstance(address, SlackAddress):
        return f"{urlsplit(address.url).hostname}/…"
    whom = [shown(one) for one in address.recipients[:3]]
    more = len(address.recipients) - len(whom)
    return f"{', '.join(whom)}{f' and {more} more' if more else ''} through {address.host}:{address.port}"


def as_text(address: Address) -> str:
    """What is sealed."""
    return json.dumps(asdict(address))


def from_text(medium: str, text: str) -> Address:
    """What was sealed."""
    found: dict[str, Any] = json.loads(text)
    if medium == "slack":
        return SlackAddress(**found)
    return MailAddress(**{**found, "recipients": tuple(found["recipients"])})
