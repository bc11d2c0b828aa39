"""The part that takes commands, announces deadlines and erases: `promise-ledger serve intake`."""

import asyncio
import signal
import threading
import time
from dataclasses import asdict
from typing import Any

import structlog

from consumers import erasing, intake, running, timer
from consumers.connection import Progress
from deploy.heartbeat import beat
from deploy.service_user import refuse_others
from deploy.timestamping import Anchor, anchor_of, keep_stamping
from deploy.witnessing import Collector, keep_collecting, policy_of
from ledger.app import Ledger
from ledger.collecting import collect_rarely
from ledger.settings import Settings
from ledger.tlog.note import Verifier
from projections import texts

_log = structlog.get_logger("serve")


def serve_intake(settings: Settings) -> None:
    """Take commands, announce deadlines, erase, until SIGTERM or SIGINT; the batch in flight is finished."""
    assert settings.database_url is not None
    url = settings.database_url
    refuse_others(url, "ledger_appender")
    refuse_others(settings.eraser_url or url)
    collect_rarely()
    with Ledger.open(settings) as ledger:
        _log.info("intake begins", origin=ledger.origin, vkey=ledger.vkey)
        policy = policy_of(settings, ledger.vkey)
        ledger.witness_policy = policy
        collector = None if policy is None else Collector(url, Verifier.parse(ledger.vkey), policy)
        running.run(_serve_intake(settings, url, ledger, collector, anchor_of(settings, policy)))


async def _serve_intake(
    settings: Settings, url: str, ledger: Ledger, collector: Collector | None, anchor: Anchor | None
) -> None:
    stop, stopped = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    progress, clockwork, erasures = Progress(fetched_at=time.time()), timer.Progress(), erasing.Progress()
    beats = [
        threading.Thread(
            target=beat, args=(url, "intake", lambda: _intake_detail(progress, collector, anchor), stopped), daemon=True
        ),
        threading.Thread(target=beat, args=(url, "timer", lambda: _timer_detail(clockwork), stopped), daemon=True),
        threading.Thread(target=beat, args=(url, "eraser", lambda: asdict(erasures), stopped), daemon=True),
    ]
    if collector is not None:
        beats.append(threading.Thread(target=keep_collecting, args=(collector, stopped), daemon=True))
    if anchor is not None:
        beats.append(threading.Thread(target=keep_stamping, args=(anchor, stopped), daemon=True))
    for thread in beats:
        thread.start()
    assert settings.broker_url is not None
    eraser = erasing.run(ledger, settings.eraser_url or url, settings.broker_url, texts, stop, progress=erasures)
    ticking = asyncio.gather(timer.run(ledger, url, stop, progress=clockwork), eraser)
    try:
        await intake.serve(settings, ledger, stop, progress=progress)
    finally:
        stop.set()
        stopped.set()
        await ticking


def _intake_detail(progress: Progress, collector: Collector | None, anchor: Anchor | None) -> dict[str, Any]:
    return {
        "timestamps": None if anchor is None else anchor.detail(),
        "witnesses": None if collector is None else collector.detail(),
        "fetch_seconds_ago": round(time.time() - progress.fetched_at, 3),
        "appended_at": progress.appended_at,
        "pending": progress.pending,
        "failure": progress.failure or progress.refused,
    }


def _timer_detail(progress: timer.Progress) -> dict[str, Any]:
    return {"announced": progress.announced, "failure": progress.failure}
