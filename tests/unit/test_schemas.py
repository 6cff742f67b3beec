"""The committed schemas: fresh, valid, and true of what is sent."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from projections.facts import Fact
from service import schemas
from service.asyncapi import TOO_LARGE
from service.kafka.topics import DOMAIN, QUARANTINE, RAW, STATE
from tests.facts import data, events_of
from tests.strategies import ONE_ROOT

DOCS = Path(__file__).parents[2] / "docs"
COMMITTED = sorted((DOCS / "schemas").glob("*.json"))
ASYNCAPI: dict[str, Any] = json.loads((DOCS / "asyncapi.json").read_text(encoding="utf-8"))


@functools.cache
def validator(event_type: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((DOCS / "schemas" / f"{event_type}.json").read_bytes()))


def test_the_committed_files_are_what_the_code_generates() -> None:
    committed = {f"schemas/{path.name}": path.read_text(encoding="utf-8") for path in COMMITTED}
    committed["asyncapi.json"] = (DOCS / "asyncapi.json").read_text(encoding="utf-8")

    assert committed == schemas.files(), "stale: run `python -m service.schemas docs`"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_each_schema_is_valid_and_describes_every_member(path: Path) -> None:
    schema = json.loads(path.read_bytes())

    Draft202012Validator.check_schema(schema)

    assert schema["$id"] == f"urn:recibo:schema:{path.stem}"
    assert all(member.get("description") for member in schema["properties"].values())
    assert sorted(schema["required"]) == sorted(schema["properties"])


@given(ONE_ROOT)
def test_whatever_is_sent_is_valid_by_its_types_schema(facts: list[Fact]) -> None:
    for record in events_of(facts):
        if record.data is not None:
            validator(record.type).validate(data(record))


def test_a_status_event_of_another_status_is_refused() -> None:
    paid = {"status": "refunded"}

    errors = [error.json_path for error in validator("order.paid").iter_errors(paid)]

    assert "$.status" in errors


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    references = list(_references(ASYNCAPI))

    assert references
    for reference in references:
        if reference.startswith("#/"):
            _follow(reference)
        else:
            assert (DOCS / reference).is_file(), reference


def test_the_asyncapi_document_has_every_topic_and_every_type() -> None:
    assert set(ASYNCAPI["channels"]) == {RAW, QUARANTINE, *DOMAIN, *STATE}
    on_channels = [name for channel in ASYNCAPI["channels"].values() for name in channel["messages"]]

    markers = [TOO_LARGE] * len({RAW, QUARANTINE, *DOMAIN})
    others = {path.stem for path in COMMITTED} - {TOO_LARGE}
    assert sorted(on_channels) == sorted(["webhook.received", *others, *markers])


def test_stale_schemas_are_removed(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    (tmp_path / "schemas" / "order.forgotten.json").write_text("{}")

    schemas.write(tmp_path)

    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}
    assert written == set(schemas.files())


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _follow(reference: str) -> object:
    node: Any = ASYNCAPI
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node
