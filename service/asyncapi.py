"""The AsyncAPI 3 document: which topics there are, what is on them, and how a record looks.

In: the schemas of the event types. Out: a document whose payloads refer to the files in docs/schemas.
The topics that are Recibo's own business (`webhooks.spill`, `relay.checkpoint`) are not in it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.kafka.headers import MARKER_TYPE
from service.kafka.topics import DOMAIN, QUARANTINE, RAW, STATE, TOPICS, Topic

_TOLD: Final = (RAW, *DOMAIN, *STATE, QUARANTINE)
_KIND_OF: Final = {topic: topic.removesuffix("s") for topic in DOMAIN}
TOO_LARGE: Final = MARKER_TYPE.decode()
_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"


def document(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The whole document, for event types with these `schemas`."""
    topics = {topic.name: topic for topic in TOPICS if topic.name in _TOLD}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Recibo",
            "version": "1.0.0",
            "description": (
                "The system of record for payment webhooks. Records are CloudEvents 1.0 in binary mode. "
                "Drop what repeats a position, and see a gap where `prev` is not the position you had."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(topics[name], schemas) for name in _TOLD},
        "operations": {
            f"publish.{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"Recibo's relay publishes to {name}.",
            }
            for name in _TOLD
        },
        "components": {
            "parameters": {
                "prefix": {
                    "description": "The installation's topic prefix; empty by default.",
                    "default": "",
                }
            },
            "messages": {
                "webhook.received": _raw_message(),
                **{name: _message(name, schema) for name, schema in schemas.items()},
            },
            "schemas": {
                "RawHeaders": _headers(_RAW_HEADERS),
                "EventHeaders": _headers(_EVENT_HEADERS),
                "StateHeaders": _headers(_STATE_HEADERS),
                "QuarantineHeaders": _headers(_QUARANTINE_HEADERS),
                "TooLargeHeaders": _headers(_TOO_LARGE_HEADERS),
            },
        },
    }


def _channel(topic: Topic, schemas: Iterable[str]) -> dict[str, Any]:
    return {
        "address": "{prefix}" + topic.name,
        "description": _description(topic.name),
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name in _types_on(topic.name, schemas)
        },
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": [topic.configs["cleanup.policy"]]},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _description(topic: str) -> str:
    if topic == RAW:
        return "Every delivery, as it is in the log: the provider's exact bytes. Keyed by root."
    if topic == QUARANTINE:
        return "Deliveries that cannot be interpreted yet, each with the reason; never the body."
    if topic in STATE:
        return "Compacted. The whole state of each aggregate, keyed by its id; the newest version wins."
    return f"What became of {topic}: each change once, in order per root. Keyed by root."


def _types_on(topic: str, types: Iterable[str]) -> list[str]:
    if topic == RAW:
        return ["webhook.received", TOO_LARGE]
    if topic == QUARANTINE:
        return ["delivery.quarantined", TOO_LARGE]
    kind = _KIND_OF[topic.removesuffix(".state")]
    states = topic in STATE
    told = [name for name in types if name.startswith(f"{kind}.") and name.endswith(".state") == states]
    return told if states else [*told, TOO_LARGE]


def _message(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    headers = "EventHeaders"
    if name.endswith(".state"):
        headers = "StateHeaders"
    elif name == "delivery.quarantined":
        headers = "QuarantineHeaders"
    elif name == TOO_LARGE:
        headers = "TooLargeHeaders"
    return {
        "name": name,
        "title": name,
        "summary": schema["description"],
        "contentType": "application/json",
        "headers": _headers_of(headers, name),
        "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./schemas/{name}.json"}},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    }


def _raw_message() -> dict[str, Any]:
    return {
        "name": "webhook.received",
        "title": "webhook.received",
        "summary": "A delivery, byte for byte as the provider sent it: usually JSON, never promised.",
        "headers": _headers_of("RawHeaders", "webhook.received"),
        "payload": {"description": "The exact bytes of the request's body."},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    }


def _headers_of(schema: str, event_type: str) -> dict[str, Any]:
    return {
        "type": "object",
        "allOf": [
            {"$ref": f"#/components/schemas/{schema}"},
            {"properties": {"ce_type": {"const": event_type}}},
        ],
    }


_OPTIONAL: Final = frozenset({"prev", "kind", "content-type"})

_OF_THE_LOG: Final = {
    "log": "Name of the log.",
    "position": "Position of this record in its log, a decimal number.",
}
_PREV: Final = {
    "prev": "The previous position of this log in this topic and partition; absent on the first record there."
}
_EVENT_HEADERS: Final = {
    "ce_specversion": "1.0",
    "ce_id": "`<root>@<version>/<n>`: deterministic; n is 0 for the root's own aggregate, else the ordinal.",
    "ce_source": "`/recibo/<log>`.",
    "ce_type": "The message's name.",
    "ce_subject": "The aggregate's id: the root, of a dispute `<root>/<ordinal>`.",
    "ce_time": "When the fact that caused the event occurred, RFC 3339.",
    "ce_partitionkey": "The root.",
    "ce_sequence": "The root's version; it sorts as text.",
    "content-type": "`application/json`.",
    **_OF_THE_LOG,
    **_PREV,
}
_STATE_HEADERS: Final = {name: text for name, text in _EVENT_HEADERS.items() if name not in _PREV} | {
    "ce_id": "`<root>@<version>/<n>/state`; with `/gone` instead it has no payload and deletes the key."
}
_QUARANTINE_HEADERS: Final = {
    "ce_specversion": "1.0",
    "ce_id": "`<receipt>/quarantined`.",
    "ce_source": "`/recibo/<log>`.",
    "ce_type": "The message's name.",
    "ce_subject": "The receipt, `<log>-<position>`.",
    "ce_partitionkey": "The delivery's root, or `?<position>` where it has none.",
    "content-type": "`application/json`.",
    **_OF_THE_LOG,
    **_PREV,
}
_TOO_LARGE_HEADERS: Final = {
    "ce_specversion": "1.0",
    "ce_id": "As the record has it.",
    "ce_source": "As the record has it.",
    "ce_type": "The message's name.",
    "ce_partitionkey": "As the record has it.",
    "content-type": "`application/json`.",
    **_OF_THE_LOG,
    **_PREV,
}
_RAW_HEADERS: Final = {
    "ce_specversion": "1.0",
    "ce_id": "The receipt, `<log>-<position>`.",
    "ce_source": "`/webhooks/<source>`.",
    "ce_type": "The message's name.",
    "ce_time": "When the ingress received it, RFC 3339.",
    "ce_partitionkey": "The root, or `?<position>` where none could be read.",
    "source": "The endpoint that it came to.",
    "account": "Whose endpoint that is.",
    "provider": "Whose format it should be in.",
    "trust": "The checks that the sender passed, joined by `+`.",
    "recorded_at": "When it was appended to the log, RFC 3339, to the microsecond.",
    "kind": "The URL's marker (`?kind=`); absent without one.",
    "content-type": "As sent; absent where the sender gave none.",
    **_OF_THE_LOG,
    **_PREV,
}


def _headers(described: Mapping[str, str]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in described.items()}
    properties["ce_specversion"] = {"type": "string", "const": "1.0", "description": "CloudEvents 1.0."}
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in described if name not in _OPTIONAL],
    }
