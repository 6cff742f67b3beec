"""Read a table of `recibo.toml` key by key, and gather every fault instead of stopping at the first.

In: a parsed TOML table and where it stands in the file. Out: values of the asked type, the default in
place of a faulty one, so that reading goes on and the next fault is found too. A fault names the key
and what it takes, never the value that stood there: it may be a secret in the wrong place.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from service.errors import ConfigurationError

SECRET_CHARACTERS_MIN: Final = 16

DAY_S: Final = 86_400

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Secret(bytes):
    """UTF-8 bytes that no repr, f-string or log line shows."""

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__


class Faults:
    """Every fault found so far, in order of discovery."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, where: str, what: str) -> None:
        fault = f"{where}: {what}"
        if fault not in self._found:
            self._found.append(fault)

    def raise_if_any(self) -> None:
        """Raises ConfigurationError with all of them."""
        if self._found:
            raise ConfigurationError(self._found)


class Secrets:
    """Resolves references to secrets: `env:NAME`, `file:PATH` (relative to the file `recibo.toml`)."""

    def __init__(self, environ: Mapping[str, str], *, base: Path, faults: Faults) -> None:
        self._environ = environ
        self._base = base
        self._faults = faults

    def resolve(self, reference: object, where: str) -> Secret | None:
        """The secret, or null after adding the fault."""
        kind, _, name = reference.partition(":") if isinstance(reference, str) else ("", "", "")
        if kind == "env" and _VARIABLE.fullmatch(name):
            return self._checked(self._environ.get(name), where, f"the environment variable {name}")
        if kind == "file" and name:
            return self._checked(self.file(name, where), where, f"the file {name}")
        self._faults.add(where, 'takes "env:NAME" or "file:PATH", never the secret itself')
        return None

    def file(self, path: str, where: str) -> str | None:
        """The text of a secret's file without its last line end, or null after adding the fault."""
        try:
            return (self._base / path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except OSError as error:
            self._faults.add(where, f"the file {path} cannot be read ({error.strerror})")
        except UnicodeDecodeError:
            self._faults.add(where, f"the file {path} is not UTF-8")
        return None

    def _checked(self, value: str | None, where: str, origin: str) -> Secret | None:
        if value is None:
            if origin.startswith("the environment"):
                self._faults.add(where, f"{origin} is not set")
        elif not value.strip():
            self._faults.add(where, f"{origin} is empty")
        elif value != value.strip() or not value.isprintable():
            self._faults.add(where, f"{origin} has blanks around it or unprintable characters in it")
        elif len(value) < SECRET_CHARACTERS_MIN:
            self._faults.add(where, f"{origin} is shorter than {SECRET_CHARACTERS_MIN} characters")
        else:
            return Secret(value.encode())
        return None


class Declaration:
    """One table, read key by key; what nobody asked for is a fault in the end."""

    def __init__(self, table: Mapping[str, Any], where: str, faults: Faults) -> None:
        self.where = where
        self.faults = faults
        self._table = table
        self._known: set[str] = set()

    def place(self, key: str) -> str:
        """The full name of `key`, as faults name it."""
        return f"{self.where}.{key}" if self.where else key

    def fault(self, key: str, what: str) -> None:
        self.faults.add(self.place(key), what)

    def raw(self, key: str) -> Any:
        """The value as TOML has it, null without one; counts as known from now on."""
        self._known.add(key)
        return self._table.get(key)

    def table(self, key: str) -> "Declaration":
        """The table under `key`, empty without one."""
        value = self.raw(key)
        if value is not None and not isinstance(value, dict):
            self.fault(key, "takes a table")
            value = None
        return Declaration(value or {}, self.place(key), self.faults)

    def tables(self, key: str) -> Iterator[tuple[str, "Declaration"]]:
        """Every table of the table `key`, with its name."""
        return self.table(key).each()

    def each(self) -> Iterator[tuple[str, "Declaration"]]:
        """Every member of this table, as a table of its own."""
        for name in self._table:
            yield name, self.table(name)

    def text(self, key: str, default: str, pattern: str, takes: str) -> str:
        """Text that matches the whole of `pattern`; `takes` says the same in words."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            self.fault(key, f"takes {takes}")
            return default
        return value

    def choice(self, key: str, default: str | None, choices: Sequence[str]) -> str | None:
        """One of `choices`; null after adding a fault, also where a key without default is missing."""
        value = self.raw(key)
        if value is None and default is not None:
            return default
        if value not in choices:
            self.fault(key, f"takes one of {', '.join(choices)}{_did_you_mean(value, choices)}")
            return None
        return str(value)

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, "takes true or false")
            return default
        return value

    def integer(self, key: str, default: int, *, at_least: int = 1, at_most: int = 2**31 - 1) -> int:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= at_most:
            self.fault(key, f"takes a whole number from {at_least} to {at_most}")
            return default
        return value

    def seconds(self, key: str, default: float) -> float:
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= DAY_S:
            self.fault(key, f"takes a number of seconds above 0, at most {DAY_S}")
            return default
        return float(value)

    def header(self, key: str, *, required: bool) -> str | None:
        """A header's name, lower case; null where there is none or it is faulty."""
        value = self.raw(key)
        if value is None and not required:
            return None
        if not isinstance(value, str) or not _HEADER.fullmatch(value):
            self.fault(key, "takes the name of a header")
            return None
        return value.lower()

    def headers(self, key: str) -> frozenset[str]:
        """A list of headers' names, lower case."""
        takes = "takes a list of headers' names"
        names = self._texts(key, takes)
        if not all(_HEADER.fullmatch(name) for name in names):
            self.fault(key, takes)
        return frozenset(name.lower() for name in names)

    def networks(self, key: str, *, required: bool) -> tuple[Network, ...]:
        """A list of addresses and CIDR ranges."""
        takes = 'takes a list of addresses or ranges such as "203.0.113.0/24"'
        found = []
        for text in self._texts(key, takes):
            try:
                found.append(ipaddress.ip_network(text))
            except ValueError as error:
                has_host_bits = "host bits" in str(error)
                self.fault(key, "a range has bits set beyond its length" if has_host_bits else takes)
        if required and not self._table.get(key):
            self.fault(key, takes)
        return tuple(found)

    def secret(self, key: str, secrets: Secrets) -> Secret | None:
        """One secret by reference; null without one."""
        value = self.raw(key)
        return None if value is None else secrets.resolve(value, self.place(key))

    def live_secrets(
        self, secrets: Secrets, pattern: str = ".*", takes: str = "any characters"
    ) -> tuple[Secret, ...]:
        """The list `secrets`: all that are valid now, several while one replaces another.

        Each must match the whole of `pattern`; `takes` says the same in words.
        """
        value = self.raw("secrets")
        if not isinstance(value, list) or not value:
            self.fault("secrets", 'takes a list of references, such as ["env:NAME"]')
            return ()
        resolved = [
            secrets.resolve(reference, f"{self.place('secrets')}[{index}]")
            for index, reference in enumerate(value)
        ]
        for index, secret in enumerate(resolved):
            if secret is not None and not re.fullmatch(pattern, secret.decode()):
                self.fault(f"secrets[{index}]", f"the secret takes {takes}")
        return tuple(secret for secret in resolved if secret is not None)

    def refuse_unknown(self) -> None:
        """Add a fault for every key that nobody asked for."""
        for key in self._table:
            if key not in self._known:
                self.fault(key, f"is not known{_did_you_mean(key, sorted(self._known))}")

    def _texts(self, key: str, takes: str) -> Sequence[str]:
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
            self.fault(key, takes)
            return []
        return value


def _did_you_mean(value: object, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    return f" (did you mean {near[0]}?)" if near else ""
