"""A fuzzer's bytes as deliveries: which provider, which marker, and the body.

The first byte picks the provider, the second the URL's marker; the rest is the body as it came. A
mutation changes one thing in the document if there is one, else some bytes.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Any, Final

import orjson

from projections.delivery import Delivery
from service.simulation.mixing import Mixture
from service.simulation.scenarios import deliveries
from tests.bodies import ALL, PROVIDERS, body, row

READERS: Final = (*PROVIDERS, "operator")
KINDS: Final = (None, "withdraw", "default")

Mutate = Callable[[bytes, int], bytes]
"""The fuzzer's own mutation of bytes, at most so many."""

_LITERALS: Final = (
    *("null", "true", "false", "0", "-1", "1.5", "-0.0", "45.905", "9223372036854775808", "1e308", "1e-300"),
    *("18446744073709551616", "0e99999999999999999999", "1e-99999999999999999999", "[]", "{}", "[null]"),
    *(
        '""',
        '" "',
        '"\\u0000"',
        '"PAID"',
        '"2025-02-30T00:00:00Z"',
        '"1500-01-01T00:00:00Z"',
        '"\\ud83d\\ude00"',
    ),
    *("[" * 300 + "]" * 300, '"' + "x" * 8192 + '"', '{"id":null}', "1762174800", '"15990"', '"0,01"'),
)
"""JSON that stands where something else is expected."""


def read(data: bytes) -> Delivery:
    """The delivery that `data` stands for."""
    provider, kind = (data + b"\0\0")[:2]
    return row(READERS[provider % len(READERS)], data[2:], kind=KINDS[kind % len(KINDS)])


def written(provider: str, kind: str | None, sent: bytes) -> bytes:
    """The bytes that stand for a delivery."""
    return bytes([READERS.index(provider), KINDS.index(kind) if kind in KINDS else 0]) + sent


def seeds() -> Iterator[bytes]:
    """Valid deliveries: the documented samples under each marker, and what the simulation sends."""
    for provider, name in ALL:
        for kind in KINDS:
            yield written(provider, kind, body(provider, name))
    sources = [(provider, provider) for provider in PROVIDERS]
    for delivery in islice(deliveries(1, sources, Mixture(unknown=0.1)), 400):
        yield written(delivery.source, delivery.kind, delivery.body)


def mutated(data: bytes, size_max: int, seed: int, mutate: Mutate) -> bytes:
    """`data` with one thing changed, the same for a seed."""
    rng = Random(seed)
    try:
        document = orjson.loads(data[2:])
    except orjson.JSONDecodeError:
        return mutate(data, size_max)
    places = list(_places(document))
    if not places or rng.random() < 0.15:
        return mutate(data, size_max)
    _change(rng, *rng.choice(places), mutate)
    try:
        changed = data[:2] + orjson.dumps(document)
    except TypeError:
        # Nested too deeply to be written again.
        return mutate(data, size_max)
    return changed if len(changed) <= size_max else data


def _places(inner: object) -> Iterator[tuple[Any, Any]]:
    """Every container with each key or index in it."""
    rest = [inner]
    while rest:
        container = rest.pop()
        if isinstance(container, dict):
            yield from ((container, name) for name in container)
            rest += container.values()
        elif isinstance(container, list):
            yield from ((container, index) for index in range(len(container)))
            rest += container


def _change(rng: Random, container: Any, key: Any, mutate: Mutate) -> None:
    value = container[key]
    if isinstance(value, str) and rng.random() < 0.4:
        # The fuzzer's own bytes are those that it saw compared with something.
        container[key] = mutate(value.encode(), 256).decode(errors="replace")
    elif isinstance(value, int | float) and rng.random() < 0.6:
        container[key] = orjson.Fragment(str(rng.choice((-value, value * 10, value + 1, value / 3))))
    elif rng.random() < 0.2:
        del container[key]
    elif isinstance(container, dict) and rng.random() < 0.2:
        container[mutate(str(key).encode(), 64).decode(errors="replace")] = value
    elif isinstance(container, list) and rng.random() < 0.2:
        container.append(value)
    else:
        container[key] = orjson.Fragment(rng.choice(_LITERALS))
