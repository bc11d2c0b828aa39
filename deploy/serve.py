"""The processes that `up` supervises and a cluster runs one by one: `promise-ledger serve intake`, `… projections`."""

import asyncio
import gc
import signal
import threading
import time
from dataclasses import asdict
from typing import Any

import psycopg
import structlog
import uvicorn

from consumers import checking, erasing, intake, running, timer
from consumers.connection import Progress
from deploy.heartbeat import beat
from deploy.places import SetupError
from deploy.timestamping import Anchor, anchor_of, keep_stamping
from deploy.witnessing import Collector, keep_collecting, policy_of, read_policy
from ledger.app import Ledger
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.note import Verifier
from projections import texts
from projections.findings.disclosure_check import Checker
from projections.runner import Runner
from projections.web.app import create_app
from projections.web.tiles import open_pool

_MAY_CHANGE = """
SELECT current_user, has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE')
FROM pg_class WHERE oid = to_regclass('ledger.events')
"""

_log = structlog.get_logger("serve")


def spare_the_garbage_collector() -> None:
    """Collect rarely: commands, events and cached states are acyclic, and scanning them took a fifth of an append."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def refuse_owner(url: str) -> None:
    """Raises SetupError where a service would run as somebody who may change evidence: an owner or a superuser."""
    with psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute(_MAY_CHANGE).fetchone()
    if row is not None and row[1]:
        raise SetupError(
            f"the service would run as the database user {row[0]}, who may change the log: give LEDGER_DATABASE_URL "
            "a user of the role ledger_appender (serve intake), ledger_projector (serve projections) or "
            "ledger_relay (serve relay)"
        )


def serve_intake(settings: Settings) -> None:
    """Take commands, announce deadlines, erase, until SIGTERM or SIGINT; the batch in flight is finished."""
    assert settings.database_url is not None
    url = settings.database_url
    refuse_owner(url)
    refuse_owner(settings.eraser_url or url)
    spare_the_garbage_collector()
    with Ledger.open(settings) as ledger:
        _log.info("intake begins", origin=ledger.origin, vkey=ledger.vkey)
        policy = policy_of(settings, ledger.vkey)
        ledger.witness_policy = policy
        collector = None if policy is None else Collector(url, Verifier.parse(ledger.vkey), policy)
        running.run(_serve_intake(settings, url, ledger, collector, anchor_of(settings)))


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
        "failure": progress.failure,
    }


def _timer_detail(progress: timer.Progress) -> dict[str, Any]:
    return {"announced": progress.announced, "failure": progress.failure}


def serve_projections(settings: Settings) -> None:
    """Keep the read tables, answer HTTP and `disclosure.check` until SIGTERM or SIGINT."""
    assert settings.database_url is not None
    assert settings.broker_url is not None
    url, checks = settings.database_url, checking.Progress(answered_at=time.time())
    refuse_owner(url)
    spare_the_garbage_collector()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pool = open_pool(url)
    config = uvicorn.Config(
        create_app(url, pool, None if settings.witness_policy is None else read_policy(settings.witness_policy)),
        host="127.0.0.1",
        port=settings.http_port,
        log_config=None,
    )
    server = uvicorn.Server(config)
    threads = [
        threading.Thread(target=beat, args=(url, "projections", dict, stop)),
        threading.Thread(target=beat, args=(url, "checks", lambda: _checks_detail(checks), stop)),
        threading.Thread(target=server.run),
        threading.Thread(target=running.run, args=(_serve_checks(settings.broker_url, url, stop, checks),)),
    ]
    for thread in threads:
        thread.start()
    try:
        Runner(url, keys.secrets_of(settings)).run(stop)
    finally:
        stop.set()
        server.should_exit = True
        for thread in threads:
            thread.join()
        pool.close()


async def _serve_checks(broker_url: str, url: str, stop: threading.Event, progress: checking.Progress) -> None:
    """Answer questions until `stop`; where that ends by itself, the whole part ends, and is started again."""
    over = asyncio.Event()
    stopping = asyncio.create_task(asyncio.to_thread(stop.wait))
    answering = asyncio.create_task(checking.serve(broker_url, Checker(url), over, progress=progress))
    await asyncio.wait((stopping, answering), return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    over.set()
    await answering


def _checks_detail(progress: checking.Progress) -> dict[str, Any]:
    return {
        "fetch_seconds_ago": round(time.time() - progress.answered_at, 3),
        "answered": progress.answered,
        "failure": progress.failure,
    }
