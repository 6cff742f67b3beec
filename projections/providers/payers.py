"""Who pays, told apart without being named: keyed hashes of the normalised document, e-mail and phone."""

import functools
import hashlib
from typing import Final

from projections.facts import Payer

_HASH_DIGITS: Final = 32
_BLOCK_BYTES: Final = 64
"""Of SHA-256."""
_REMEMBERED_LENGTH_MAX: Final = 1_000
"""Characters: whoever names a person in a megabyte is not to fill the memory with it."""
_COUNTRY: Final = "55"
_NATIONAL_LENGTHS: Final = frozenset({10, 11})
"""Digits of a Brazilian number with its area code and without the country's."""


def payer(
    key: bytes | None, document: str | None = None, email: str | None = None, phone: str | None = None
) -> Payer | None:
    """The payer's hashes under `key`; null without a key, or where nobody is named.

    The same person gives the same hashes whatever the provider's way of writing: documents are compared
    by their letters and digits, e-mails in lower case, phones by their digits with the country's.
    """
    if key is None:
        return None
    if len(document or "") + len(email or "") + len(phone or "") > _REMEMBERED_LENGTH_MAX:
        return _told(key, document, email, phone)
    return _remembered(key, document, email, phone)


def _told(key: bytes, document: str | None, email: str | None, phone: str | None) -> Payer | None:
    keyed = _keyed(key)
    told = Payer(
        document=_hash(*keyed, _letters_and_digits(document)) if document else None,
        email=_hash(*keyed, email.strip().lower()) if email else None,
        phone=_hash(*keyed, _phone(phone)) if phone else None,
    )
    return told if told != _NOBODY else None


_remembered: Final = functools.lru_cache(maxsize=4096)(_told)
"""For a while: the deliveries of one order come close together and name the same person."""


def forget() -> None:
    """Remember nobody any more, for whoever is done with a stretch of deliveries and frees all of its memory.

    What stays lies scattered all over it, and so does all that comes to lie in between: that made folding
    cost a twelfth more.
    """
    _remembered.cache_clear()


def _hash(inner: "hashlib._Hash", outer: "hashlib._Hash", normalised: str) -> str | None:
    if not normalised:
        return None
    # HMAC (RFC 2104) from two digests that have taken the key: half of what `hmac.digest` costs.
    inner, outer = inner.copy(), outer.copy()
    inner.update(normalised.encode())
    outer.update(inner.digest())
    return outer.hexdigest()[:_HASH_DIGITS]


@functools.lru_cache(maxsize=1)
def _keyed(key: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """The inner and the outer digest of HMAC-SHA256, with the key taken."""
    block = (key if len(key) <= _BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


def _letters_and_digits(document: str) -> str:
    return (document if document.isalnum() else "".join(filter(str.isalnum, document))).upper()


def _phone(phone: str) -> str:
    text = phone.removeprefix("+")
    digits = text if text.isdecimal() else "".join(filter(str.isdecimal, text))
    return _COUNTRY + digits if len(digits) in _NATIONAL_LENGTHS else digits


_NOBODY: Final = Payer()
