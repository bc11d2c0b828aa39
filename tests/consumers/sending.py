"""What the tests of the Python client send, by which key they check, and what the log has of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import psycopg

from ledger.domain.model import Command
from ledger.domain.promise_messages import MakePromise
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.note import Signer
from tests.consumers.events import promise

NOWHERE = "nats://127.0.0.1:1"


def making(promise_id: str = "P-1", **changes: Any) -> Command:
    return MakePromise.model_validate_json(orjson.dumps(promise(promise_id=promise_id, **changes)))


def vkey(settings: Settings) -> str:
    return Signer(settings.origin, keys.load(settings.keys_dir).log).vkey


def streams(settings: Settings) -> list[str]:
    with psycopg.connect(settings.database_url or "") as connection:
        rows = connection.execute("SELECT originator_id FROM ledger.events ORDER BY notification_id")
        return [row[0] for row in rows]


def run(story: Callable[[], Any]) -> None:
    asyncio.run(story())
