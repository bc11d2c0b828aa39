"""How far the projections are behind the log while it grows."""

import threading
import time
from collections.abc import Sequence

import psycopg

from ledger.app import Ledger
from ledger.settings import MAX_BATCH, Settings
from projections.runner import install
from tests.bench.append import plain
from tests.bench.places import new_log, service, submission

SHARE = 5_000 / 18_000
"""The rate of the goal, of what plain eventsourcing saves on the machine that the goal was set for."""
SECONDS = 15
BATCH = 50
_BEHIND = "SELECT min(position) FROM projection.versions WHERE live"


class Watch(threading.Thread):
    """Sees, every few milliseconds, up to which leaf every projection is."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.seen: list[tuple[float, int]] = []
        self.stop = threading.Event()
        self._url = url

    def run(self) -> None:
        """Look until `stop` is set."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self.stop.wait(0.005):
                ((position,),) = connection.execute(_BEHIND).fetchall()
                self.seen.append((time.perf_counter(), position))

    def wait_for(self, size: int, seconds: float) -> None:
        """Returns once all `size` leaves are applied."""
        until = time.perf_counter() + seconds
        while not self.seen or self.seen[-1][1] < size:
            assert time.perf_counter() < until, f"{size} leaves are not applied after {seconds} s"
            time.sleep(0.01)


def lags(settings: Settings, rate: float) -> list[float]:
    """Seconds from an event's commit until every projection shows it, at `rate` events a second, sorted by length."""
    url = settings.database_url or ""
    install(url)
    committed: list[tuple[float, int]] = []
    with Ledger.open(settings) as log, service(settings, "projections", "ledger_projector"):
        watch = Watch(url)
        watch.start()
        try:
            size = MAX_BATCH
            log.submit([submission(number) for number in range(size)])
            watch.wait_for(size, 60)
            began, first = time.perf_counter(), size
            while size - first < rate * SECONDS:
                time.sleep(max(0.0, began + (size - first) / rate - time.perf_counter()))
                log.submit([submission(number) for number in range(size, size + BATCH)])
                size += BATCH
                committed.append((time.perf_counter(), size))
            kept = (size - first) / (time.perf_counter() - began)
            assert kept > rate * 0.95, f"the log took {kept:,.0f} events/s, not {rate:,.0f}"
            watch.wait_for(size, 120)
        finally:
            watch.stop.set()
            watch.join()
    return sorted(_shown(committed, watch.seen))


def _shown(committed: Sequence[tuple[float, int]], seen: Sequence[tuple[float, int]]) -> list[float]:
    """How long after its commit each batch was seen in every projection."""
    looks = iter(seen)
    at, position = next(looks)
    taken = []
    for when, size in committed:
        while position < size:
            at, position = next(looks)
        taken.append(max(0.0, at - when))
    return taken


def report(url: str, broker_url: str) -> Sequence[tuple[str, str]]:
    """The rows of the table that this measurement adds."""
    saved = plain(url, 20_000, batch=MAX_BATCH)
    rows = []
    for rate in (1_000, saved * SHARE):
        with new_log(url, broker_url) as settings:
            taken = lags(settings, rate)
        p50, p99 = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99))
        rows.append((f"projections behind, at {rate:,.0f} events/s", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"))
    return (*rows, ("  plain eventsourcing saving, batches of 500", f"{saved:,.0f} events/s: {SHARE:.2f} x of it"))
