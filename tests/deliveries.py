"""Rows for the log, as a test needs them."""

import datetime as dt
import hashlib
from typing import Any

import orjson

from projections.providers import root_of
from service.eventlog.deliveries import NewDelivery
from tests.bodies import document

NOW = dt.datetime(2025, 11, 3, 13, 0, 0, tzinfo=dt.UTC)


def new_delivery(body: bytes = b"{}", **columns: Any) -> NewDelivery:
    """A row of source `shop` with `body`; `columns` replace the defaults."""
    defaults: dict[str, Any] = {
        "source": "shop",
        "account": "shop",
        "provider": "admin",
        "root": None,
        "kind": None,
        "received_at": NOW,
        "trust": "none",
        "remote_ip": "127.0.0.1",
        "headers": '{"content-type": "application/json"}',
        "body": body,
        "body_sha256": hashlib.sha256(body).digest(),
    }
    return NewDelivery(**(defaults | columns))


def admin_payment(
    payment: str, status: str, updated_at: str = "2025-11-03T13:02:10Z", **members: Any
) -> NewDelivery:
    """A delivery of the provider `admin` on the root `shop:order:<payment>`."""
    body = {
        "id": payment,
        "type": "PAYMENT",
        "status": status,
        "amount": 15990,
        "currency": "BRL",
        "external_id": "LJ-1",
        "created_at": "2025-11-03T13:00:00Z",
        "updated_at": updated_at,
    }
    return new_delivery(orjson.dumps(body | members), root=f"shop:order:{payment}")


def gen_payment(payment_id: str, total_cents: int) -> NewDelivery:
    """A paid one of the one order of Gen's fixtures."""
    sent = document("gen", "pix_paid")
    sent["data"] |= {"id": payment_id, "total_cents": total_cents, "subtotal_cents": total_cents}
    root = root_of("gen", "shop", sent, None)
    return new_delivery(orjson.dumps(sent), source="gen", provider="gen", root=root)
