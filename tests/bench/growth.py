"""What a large log costs more than a small one: both are asked in turn, so that the machine is the same for each."""

import os
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import orjson
import psycopg

from ledger.app import Ledger, Submission
from ledger.domain.dispatch import COMMANDS
from ledger.settings import MAX_BATCH, Settings
from ledger.storage import keys
from projections.queries import keyring, outstanding
from projections.rebuilding import rebuild
from projections.reports import ALL
from projections.runner import install
from tests.bench.places import new_log, submission

SMALL = 10_000
LARGE = int(os.environ.get("EVENTS", "1000000"))
"""`EVENTS=10000000 python -m tests.bench growth` needs an hour and 40 GB; memory is full from 400,000 on."""
ROUNDS = 12
QUESTIONS = 300
REASSIGN = COMMANDS["promise.reassign"]


class Grown:
    """A log of so many promises, read tables included, and the memory that its writer held at half and at all of it."""

    def __init__(self, settings: Settings, events: int) -> None:
        self._settings = settings
        self._random = random.Random(events)
        self._events = events
        self._next = events
        with Ledger.open(settings) as log:
            self._fill(log, 0, events // 2)
            half = resident()
            self._fill(log, events // 2, events)
            self.megabytes = half, resident()
        install(settings.database_url or "")
        rebuild(settings.database_url or "", keys.load(settings.keys_dir), ALL)
        self._log = Ledger.open(settings)
        self._reader = psycopg.connect(settings.database_url or "", autocommit=True)
        self._reader.execute("VACUUM ANALYZE")

    @staticmethod
    def _fill(log: Ledger, start: int, stop: int) -> None:
        for first in range(start, stop, MAX_BATCH):
            log.submit([submission(number) for number in range(first, first + MAX_BATCH)])

    def make(self) -> float:
        """Seconds until a batch of new promises is appended, signed and proven."""
        batch = [submission(number) for number in range(self._next, self._next + MAX_BATCH)]
        self._next += MAX_BATCH
        return self._seconds(batch)

    def reassign(self) -> float:
        """The same of commands to promises anywhere in the log."""
        return self._seconds([self._reassignment() for _ in range(MAX_BATCH)])

    def ask(self) -> float:
        """Seconds until one customer's outstanding promises are there."""
        customer = f"C-{self._random.randrange(self._events // 5)}"
        began = time.perf_counter()
        rows = outstanding(self._reader, keyring(None), customer=customer)
        seconds = time.perf_counter() - began
        assert len(rows) == 5, rows
        return seconds

    def close(self) -> None:
        """Both connections are given back."""
        self._log.close()
        self._reader.close()

    def _seconds(self, batch: Sequence[Submission]) -> float:
        began = time.perf_counter()
        answers = self._log.submit(batch)
        seconds = time.perf_counter() - began
        assert all(answer.status == "recorded" for answer in answers)
        return seconds

    def _reassignment(self) -> Submission:
        number = self._random.randrange(self._events)
        data = {
            "actor": "u-17",
            "occurred_at": "2026-11-21T11:00:00+01:00",
            "promise_id": f"P-{number}",
            "owner": f"u-{self._random.getrandbits(60)}",
        }
        canonical = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
        command = REASSIGN.__pydantic_validator__.validate_json(canonical, strict=True)
        return Submission("bench", f"r-{self._random.getrandbits(100)}", command, canonical)


def resident() -> float:
    """Megabytes that this process holds (Linux)."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def medians(one: Callable[[], float], other: Callable[[], float], rounds: int) -> tuple[float, float]:
    """The median seconds of each, asked in turn."""
    taken = [(one(), other()) for _ in range(rounds)]
    return median(a for a, _ in taken), median(b for _, b in taken)


def report(url: str) -> Sequence[tuple[str, str]]:
    """The rows of the table that this measurement adds."""
    assert LARGE % (2 * MAX_BATCH) == 0, f"EVENTS is a multiple of {2 * MAX_BATCH:,}"
    with new_log(url) as few, new_log(url) as many:
        small, large = Grown(few, SMALL), Grown(many, LARGE)
        made = medians(small.make, large.make, ROUNDS)
        reassigned = medians(small.reassign, large.reassign, ROUNDS)
        asked = medians(small.ask, large.ask, QUESTIONS)
        small.close()
        large.close()
    return (
        (f"a log of {LARGE:,} events against one of {SMALL:,}", ""),
        ("  append new promises", _compared(made, 1e6 / MAX_BATCH, "µs an event")),
        ("  append to promises anywhere in it", _compared(reassigned, 1e6 / MAX_BATCH, "µs an event")),
        ("  one customer's outstanding promises", _compared(asked, 1e3, "ms")),
        ("  memory of the writer", _compared(large.megabytes, 1, f"MB at {LARGE:,}")),
    )


def _compared(seconds: tuple[float, float], factor: float, unit: str) -> str:
    few, many = seconds
    return f"{many * factor:,.2f} {unit} instead of {few * factor:,.2f}: {many / few:.2f} x"
