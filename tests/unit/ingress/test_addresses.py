"""Whose address counts when proxies stand between: never one that the sender could invent."""

import ipaddress
from collections.abc import Sequence

import pytest

from service.ingress.addresses import sender

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:ffff::/48"))


def sender_of(peer: str | None, *forwarded: str) -> str | None:
    address = sender(peer, forwarded, PROXIES)
    return None if address is None else str(address)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("2001:db8:ffff::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", ["fe80::1%\x01"], "fe80::1"),
        ("10.0.0.1", ["[fe80::1%\udcff]:4711"], "fe80::1"),
        ("10.0.0.1", ["::ffff:1.2.3.4%\udcff"], "1.2.3.4"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, \udcff\x00"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        (None, ["198.51.100.1"], None),
    ],
)
def test_the_rightmost_untrusted_address_counts(
    peer: str | None, forwarded: Sequence[str], expected: str | None
) -> None:
    assert sender_of(peer, *forwarded) == expected


def test_without_trusted_proxies_the_peer_counts() -> None:
    assert str(sender("10.0.0.1", ["198.51.100.1"], ())) == "10.0.0.1"
