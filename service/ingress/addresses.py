"""Whose address a request comes from, when trusted proxies stand in between. Pure.

A proxy that we trust appends the address it saw to `X-Forwarded-For`; everything left of the rightmost
address that is not such a proxy's was written by the sender and may be invented.
"""

import functools
import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from service.declarations import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d{1,5})?|(?P<v4>[0-9.]+):\d{1,5}", re.ASCII)


def sender(peer: str | None, forwarded: Sequence[str], trusted: tuple[Network, ...]) -> Address | None:
    """The sender's address: the peer's, or where that is a trusted proxy the rightmost untrusted one.

    `forwarded` holds every X-Forwarded-For header, in order. An entry that is no address ends the
    walk: what counts then is the proxy that wrote it down.
    """
    nearest = parse(peer or "")
    if nearest is None or not trusted:
        return nearest
    hops = [hop for value in forwarded for hop in value.split(",")]
    while hops and contains(trusted, nearest):
        further = parse(hops.pop())
        if further is None:
            return nearest
        nearest = further
    return nearest


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Address | None:
    """The address, with or without a port, an IPv4 one in IPv6 clothes as IPv4; null where it is none.

    The scope of an IPv6 address (`%eth0`) is dropped: it means something only on the machine that wrote it,
    and a sender may put any character there.
    """
    text = text.strip()
    if with_port := _WITH_PORT.fullmatch(text):
        text = with_port["v6"] or with_port["v4"]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address if address.scope_id is None else ipaddress.IPv6Address(int(address))


def contains(networks: Sequence[Network], address: Address) -> bool:
    """Whether `address` is in any of `networks`."""
    return any(address in network for network in networks)
