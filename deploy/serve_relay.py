"""The part that announces on the queue: `promise-ledger serve relay`."""

import asyncio
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import structlog
from nats.aio.client import Client

from consumers import announcing, running, trust
from consumers.announcing import QUERIES, Announcer, Progress
from consumers.escalations import EscalationsAnnouncer
from consumers.findings import FindingsAnnouncer
from consumers.relay import EventsAnnouncer
from deploy.heartbeat import beat
from deploy.service_user import refuse_others
from ledger.settings import Settings
from projections.findings.registry import FINDINGS

_log = structlog.get_logger("serve")


def serve_relay(settings: Settings) -> None:
    """Announce what happened, opened and closed until SIGTERM or SIGINT; the batch in hand is finished."""
    assert settings.database_url is not None
    assert settings.broker_url is not None
    refuse_others(settings.database_url, "ledger_relay")
    running.run(_serve(settings.database_url, settings.broker_url))


def _origin(database_url: str) -> str:
    """The log's name."""
    with psycopg.connect(database_url, connect_timeout=10) as connection:
        row = connection.execute(QUERIES["origin"]).fetchone()
    assert row is not None, "the database holds no log"
    return str(row[0])


async def _serve(database_url: str, broker_url: str) -> None:
    origin = _origin(database_url)
    events = EventsAnnouncer(origin)
    findings = FindingsAnnouncer(origin, {code: kind.rule for code, kind in FINDINGS.items()})
    everything: Sequence[Announcer] = (events, findings, EscalationsAnnouncer(origin))
    stop, stopped = asyncio.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    progress = {announcer.name: Progress() for announcer in everything}
    threading.Thread(
        target=beat,
        args=(database_url, "relay", lambda: _detail(progress) | {"lag_events": events.lag_events}, stopped),
        daemon=True,
    ).start()
    queue = await running.unless(stop, connected(broker_url, tuple(progress.values())))
    if queue is None:
        return
    try:
        await asyncio.gather(
            *(announcing.run(each, database_url, queue, stop, progress=progress[each.name]) for each in everything)
        )
    finally:
        stopped.set()
        await queue.close()


async def connected(broker_url: str, progress: Sequence[Progress]) -> Client:
    """A connection that reconnects for ever; NATS may be away, or not let us in, when it begins: `progress` says so.

    Afterwards whoever publishes is told, and says so; nats-py would print every attempt as well.
    """
    here = False

    async def said(error: Exception) -> None:
        failure = f"there is no connection to NATS, see LEDGER_BROKER_URL: {error}"
        if here or progress[0].failure == failure or isinstance(error, ConnectionResetError):  # cut off, and told why
            return
        _log.warning("nothing can be announced", error=failure)
        for each in progress:
            each.failure = failure

    queue = await trust.connect(
        broker_url,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        ping_interval=10,
        pending_size=64 * 2**20,
        error_cb=said,
    )
    here = True
    return queue


def _detail(progress: Mapping[str, Progress]) -> dict[str, Any]:
    failures = [f"{name}: {each.failure}" for name, each in progress.items() if each.failure is not None]
    return {
        "published": {name: each.published for name, each in progress.items()},
        "looked_seconds_ago": round(time.time() - min(each.looked_at for each in progress.values()), 3),
        "failure": failures[0] if failures else None,
    }
