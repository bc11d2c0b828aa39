"""Heartbeats: what each running part last said of itself, in the database, where every health check finds it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event
from typing import Any

import psycopg
import structlog

from ledger.lasting import Lasting

INTERVAL_SECONDS = 1.0

_WRITE = """
INSERT INTO service.heartbeat (part, at, detail) VALUES (%(part)s, %(at)s, %(detail)s)
ON CONFLICT (part) DO UPDATE SET at = excluded.at, detail = excluded.detail
"""

_log = structlog.get_logger("heartbeat")


def beat(url: str, part: str, detail: Callable[[], dict[str, Any]], stop: Event) -> None:
    """Say once a second that `part` is at work, until `stop`; a database that is away is tried again."""
    failing = Lasting(_log, "no heartbeat: the database is away")
    while not stop.is_set():
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                while not stop.is_set():
                    row = {"part": part, "at": datetime.now(UTC), "detail": json.dumps(detail())}
                    connection.execute(_WRITE, row)
                    failing.went_well(part=part)
                    stop.wait(INTERVAL_SECONDS)
        except psycopg.Error as error:
            failing.failed(str(error).strip().split("\n")[0], part=part)
            stop.wait(INTERVAL_SECONDS)
