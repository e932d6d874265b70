"""Where notices may not go: an address that somebody typed must not have us call into a network of our own."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from core.errors import Permanent


class LeadsInside(Permanent):
    """The address leads to where the internet does not: a machine's own services, its cloud's, a private network."""

    def __init__(self) -> None:
        super().__init__(
            "its address leads into a private network, where notices do not go unless SWITCHYARD_NOTICES_INSIDE is 1"
        )


def refuse_inside(host: str, peer: str) -> None:
    """Raises LeadsInside where `peer`, the IP address that was reached, is no public one.

    Judged by what was reached and not by what the name said a moment ago. Whoever writes this machine's own address
    (`localhost`, 127.0.0.1) means it, as a mail server or a relay beside us.
    """
    reached = _address(peer)
    if reached is None or not (reached.is_global or (reached.is_loopback and _is_this_machine(host))):
        raise LeadsInside


def _is_this_machine(host: str) -> bool:
    named = _address(host.strip("[]"))
    return host.lower().rstrip(".") == "localhost" if named is None else named.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
