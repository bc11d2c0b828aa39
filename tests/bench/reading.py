"""Verifying the whole log and rebuilding the projections, against what neither can do without."""

import os
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import psycopg

from ledger.app import Ledger
from ledger.settings import MAX_BATCH, Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.verification.log import verify
from projections.blast import blast_radius
from projections.rebuilding import rebuild
from projections.reports import ALL
from projections.runner import Runner, install
from tests.bench import machine
from tests.bench.append import copy, plain
from tests.bench.floor import libraries
from tests.bench.places import new_log, submission
from tests.projections.falsehoods import chain, star
from tests.projections.falsehoods import fill as fill_disclosures

VERIFY_GOAL = 100_000
"""Events/s, on the machine of the goals."""


def fill(settings: Settings, events: int) -> str:
    """Append so many promises; the log's verifier key. What PostgreSQL does within minutes after is done at the end."""
    with Ledger.open(settings) as log:
        for start in range(0, events, MAX_BATCH):
            log.submit([submission(number) for number in range(start, start + MAX_BATCH)])
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
    return log.vkey


class Verified(NamedTuple):
    """How fast a log was verified: events/s, and the processor time of our processes in microseconds an event."""

    rate: float
    ours: float


def verifying(settings: Settings, vkey: str, events: int, *, texts: bool = True, rules: bool = False) -> Verified:
    """Run `verify`, the sealed `texts` opened or not; with `rules` every command decided again."""
    began, used = time.perf_counter(), _processor_time()
    found = verify(
        settings.database_url or "",
        vkey=vkey,
        guard=lambda: read_guard(settings.guard_path),
        key_encryption_key=keys.load(settings.keys_dir).kek if texts else None,
        rules=rules,
    )
    seconds, used = time.perf_counter() - began, _processor_time() - used
    assert found.problem is None, found.problem
    assert found.size == events
    return Verified(events / seconds, used / events * 1e6)


def _processor_time() -> float:
    """Seconds that this process has used, and those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def rebuilding(settings: Settings, events: int) -> float:
    """Events/s of deriving all projections again, side by side."""
    secrets = keys.load(settings.keys_dir)
    install(settings.database_url or "")
    Runner(settings.database_url or "", secrets).catch_up()
    began = time.perf_counter()
    rebuild(settings.database_url or "", secrets, ALL)
    return events / (time.perf_counter() - began)


def blast(settings: Settings, disclosures: int) -> float:
    """Seconds until all that rests on one falsehood is there, asked of so many: half in one chain, half in a star."""
    install(settings.database_url or "")
    half = disclosures // 2
    links = [*chain("chain", half), ("chain-0", "star"), *star("star", half)]
    with psycopg.connect(settings.database_url or "") as connection:
        fill_disclosures(connection, links, "chain-0")
        began = time.perf_counter()
        found = blast_radius(connection, "chain-0")
        seconds = time.perf_counter() - began
    assert found is not None
    assert len(found.items) == len(links) + 1
    return seconds


def report(url: str, broker_url: str) -> Sequence[tuple[str, str]]:
    """The rows of the table that this measurement adds."""
    events = 400_000  # many, so that it counts for little that a process for each core starts up first
    works = machine.works(url, broker_url)
    with new_log(url) as settings:
        vkey = fill(settings, events)
        rounds = [
            (machine.pace(works), verifying(settings, vkey, events), libraries(settings, events)) for _ in range(5)
        ]
        closed = median(verifying(settings, vkey, events, texts=False).rate for _ in range(3))
    rate = median(found.rate for _, found, _ in rounds)
    reached = [found.rate / (pace * VERIFY_GOAL) for pace, found, _ in rounds]
    ours, floor = median(found.ours for _, found, _ in rounds), median(least for *_, least in rounds)
    all_cores = median((os.cpu_count() or 1) * 1e6 / found.rate for _, found, _ in rounds)
    events = 100_000
    with new_log(url) as settings:
        vkey = fill(settings, events)
        small = verifying(settings, vkey, events).rate
        saved = plain(url, 20_000, batch=MAX_BATCH)
        replayed = verifying(settings, vkey, events, rules=True).rate
        rebuilt = rebuilding(settings, events)
    with new_log(url) as settings:
        radius = blast(settings, 100_000)
    rows = copy(url, 40_000)
    return (
        ("verify the whole log of 400,000, five times", f"{rate:,.0f} events/s"),
        (
            f"  {VERIFY_GOAL:,} at the machine's pace before each",
            f"ours is {median(reached):.2f} x ({min(reached):.2f} to {max(reached):.2f})",
        ),
        ("  time of all cores an event", f"{all_cores:.1f} us, {ours:.1f} of them in Python"),
        ("  its calls into libraries, and nothing else", f"{floor:.1f} us an event, on one core"),
        ("  without the keys, as an auditor", f"{closed:,.0f} events/s: {closed / rate:.2f} x"),
        ("verify a log of 100,000", f"{small:,.0f} events/s"),
        ("  with --rules", f"{replayed:,.0f} events/s: {replayed / small:.2f} x"),
        ("rebuild all projections", f"{rebuilt:,.0f} events/s"),
        ("  plain eventsourcing saving, batches of 500", f"{saved:,.0f} events/s: ours is {rebuilt / saved:.2f} x"),
        ("  raw COPY of one row an event", f"{rows:,.0f} rows/s: ours is {rebuilt / rows:.2f} x"),
        ("blast radius of 100,000 disclosures", f"{radius:.2f} s"),
    )
