"""Deliveries of a fault's own beside the load, with a ledger that the checker reads like the load's."""

import datetime as dt
import hashlib
from collections.abc import Iterable

import aiohttp

from service.simulation import ledger
from service.simulation.ledger import Line
from tests.faults.scene import TOKEN, Scene


async def deliver_gen(scene: Scene, bodies: Iterable[bytes]) -> None:
    """Send `bodies` to the source `gen`, one after another; each must get a receipt."""
    path = scene.folder / f"ledger-own-{len(scene.load.ledgers)}.jsonl"
    async with (
        ledger.opened(path) as lines,
        aiohttp.ClientSession(scene.roles["ingress"].url, headers={"Authorization": TOKEN}) as http,
    ):
        for sequence, body in enumerate(bodies, 1):
            sent_at = dt.datetime.now(dt.UTC).isoformat()
            async with http.post("/webhooks/gen", data=body) as answer:
                said = await answer.json(content_type=None)
                assert answer.status == 200, said
            await lines.append(
                Line(
                    sequence=sequence,
                    attempt=1,
                    source="gen",
                    kind=None,
                    sent_at=sent_at,
                    body=body,
                    body_sha256=hashlib.sha256(body).hexdigest(),
                    mutation="none",
                    status=answer.status,
                    receipt=said["receipt"],
                )
            )
    scene.load.ledgers.append(path)
