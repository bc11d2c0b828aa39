"""A failure that lasts, as the log of a part tells it: at once, then ever more rarely, and when it is over."""

import time
import traceback
from collections.abc import Callable
from typing import Final

import psycopg
from structlog.typing import FilteringBoundLogger

FIRST_REST_SECONDS: Final = 2.0
LAST_REST_SECONDS: Final = 60.0


class Lasting:
    """What is tried again and again, on one thread: `what` cannot be done while it fails."""

    def __init__(self, log: FilteringBoundLogger, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._what = what
        self._clock = clock
        self._rest = 0.0
        self._say_at = 0.0

    def failed(self, reason: str, **about: object) -> None:
        """The log says so, unless it did a little while ago: 2, 4, 8 … seconds, a minute at most."""
        now = self._clock()
        if self._rest == 0.0 or now >= self._say_at:
            self._log.warning(self._what, reason=reason, **about)
            self._rest = min(max(2 * self._rest, FIRST_REST_SECONDS), LAST_REST_SECONDS)
            self._say_at = now + self._rest

    def went_well(self, **about: object) -> None:
        """The log says once that it goes on, where it had failed."""
        if self._rest:
            self._log.info(f"no more: {self._what}", **about)
        self._rest = 0.0


def unforeseen(error: Exception) -> str:
    """The kind of an error and where it was raised, and nothing of what it says: that may be somebody's words."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    kind = type(error).__name__
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        kind = f"{kind} ({error.sqlstate})"
    return f"{kind} in {where.name}, line {where.lineno}"
