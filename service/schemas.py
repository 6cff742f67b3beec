"""The JSON Schemas and the AsyncAPI document, generated from the structs that the code sends.

`python -m service.schemas docs` writes `docs/schemas/<type>.json`, one file per event type, and
`docs/asyncapi.json`. They are committed; a test fails when they are stale. A crash in between leaves
some files old: run it again.

A struct's field is described by the docstring below it, so each thing is explained once.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from projections import facts, messages, states
from service.asyncapi import TOO_LARGE, document

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_KINDS: Final[dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct], Any]]] = {
    "order": (messages.OrderData, states.OrderState, states.OrderStatus),
    "dispute": (messages.DisputeData, states.DisputeState, states.DisputeStatus),
    "subscription": (messages.SubscriptionData, states.SubscriptionState, states.SubscriptionStatus),
    "withdrawal": (messages.WithdrawalData, states.WithdrawalState, states.WithdrawalStatus),
    "cart": (messages.CartData, states.CartState, states.CartStatus),
}
"""Of each aggregate: the data of its events, its state, its statuses."""

_PARTS: Final[tuple[type[msgspec.Struct], ...]] = (
    facts.Payer,
    states.Payment,
    states.Flag,
    states.Began,
    messages.DatedFlag,
    messages.Cause,
)


def schemas() -> dict[str, Schema]:
    """The schema of every event type, by type: `order.paid`, …, `cart.state`, `delivery.quarantined`."""
    found: dict[str, Schema] = {}
    for kind, (data, state, statuses) in _KINDS.items():
        for status in get_args(statuses):
            found[f"{kind}.{status}"] = _of_status(kind, data, status)
        found[f"{kind}.updated"] = _named(
            f"{kind}.updated", f"The {kind}'s content changed, its status did not.", _schema(data)
        )
        found[f"{kind}.amended"] = _named(
            f"{kind}.amended",
            f"The {kind}'s past is known better: its flags or history changed; or, in a new generation, its "
            "state is another since all deliveries were understood anew.",
            _schema(data),
        )
        found[f"{kind}.state"] = _of_state(kind, state)
    found["delivery.quarantined"] = _named(
        "delivery.quarantined",
        "A delivery that cannot be interpreted yet. It is in the log, whole.",
        _schema(messages.QuarantinedData),
    )
    found[TOO_LARGE] = _named(
        TOO_LARGE,
        "Stands in the place of a record that Kafka refused for its size, with its `ce_id` and `position`.",
        _schema(messages.TooLargeData),
    )
    return found


def files() -> dict[str, str]:
    """Every generated file's content, by path below the docs folder."""
    generated = {f"schemas/{name}.json": schema for name, schema in schemas().items()}
    generated["asyncapi.json"] = document(schemas())
    return {
        path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in generated.items()
    }


def write(folder: Path) -> None:
    """Write the generated files below `folder`, and remove schemas of types that are no more."""
    generated = files()
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    for path in (folder / "schemas").glob("*.json"):
        if str(path.relative_to(folder)) not in generated:
            path.unlink()
    for name, text in generated.items():
        (folder / name).write_text(text, encoding="utf-8")


def _of_status(kind: str, data: type[msgspec.Struct], status: str) -> Schema:
    article = "An" if kind[0] in "aeiou" else "A"
    schema = _schema(data)
    told = schema["properties"]["status"]
    schema["properties"]["status"] = {"const": status, "description": told["description"]}
    return _named(f"{kind}.{status}", f"{article} {kind} became {status}.", schema)


def _of_state(kind: str, state: type[msgspec.Struct]) -> Schema:
    schema = _schema(state)
    version = {
        "type": "string",
        "pattern": r"^[0-9]{4}\.[0-9]{10}$",
        "description": "Grows with each fact, also as text; the newest wins.",
    }
    schema["properties"] = {"version": version, **schema["properties"]}
    schema["required"] = ["version", *schema["required"]]
    return _named(f"{kind}.state", f"The whole state of one {kind}; the newest version wins.", schema)


def _named(name: str, description: str, schema: Schema) -> Schema:
    return {
        "$schema": DIALECT,
        "$id": f"urn:recibo:schema:{name}",
        **schema,
        "title": name,
        "description": description,
    }


def _schema(struct: type[msgspec.Struct]) -> Schema:
    """The struct's schema with its parts in `$defs`, every member described."""
    (reference,), components = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    own = components.pop(reference["$ref"].rpartition("/")[2])
    described = _described(own, struct)
    parts = {part.__name__: part for part in _PARTS}
    defs = {name: _described(component, parts[name]) for name, component in sorted(components.items())}
    return {**described, **({"$defs": defs} if defs else {})}


def _described(schema: Schema, struct: type[msgspec.Struct]) -> Schema:
    descriptions = _field_docstrings(struct)
    properties = {
        name: {**member, **({"description": descriptions[name]} if name in descriptions else {})}
        for name, member in schema["properties"].items()
    }
    description = " ".join((struct.__doc__ or "").split())
    # What refuses unknown members is how we read what we stored; a subscriber is to let new ones pass.
    open_ = {name: part for name, part in schema.items() if name != "additionalProperties"}
    return {**open_, "description": description, "properties": properties}


def _field_docstrings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The texts below the struct's fields; Python itself throws them away."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(definition, ast.ClassDef)
    return dict(_documented(definition.body))


def _documented(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    field: str | None = None
    for statement in body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                field = name
            case ast.Expr(value=ast.Constant(value=str(text))) if field is not None:
                yield field, " ".join(text.split())
                field = None
            case _:
                field = None


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
