"""The live runner: keeps every projection at the head of the log, each by itself.

It listens first and then pulls, so that no event is missed in between, and looks by itself every half second, so that a
lost notification costs no more than that. Any number of runners is correct: the version's row is their lock.
"""

import threading
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack

import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from ledger.collecting import rare_collections
from ledger.lasting import Lasting
from ledger.storage.keys import Secrets
from ledger.storage.recorder import CHANNEL
from ledger.storage.signer import Fork
from projections import rebuilding, versions
from projections.applying import Applier, Progress, Stopped
from projections.log import Log
from projections.reports import ALL
from projections.versions import Definition, NotInstalled, Outdated, ProjectionStatus

NAMES = tuple(definition.name for definition in ALL)
POLL_SECONDS = 0.5
RETRY_SECONDS = 10.0
RECONNECT_SECONDS = 1.0

_log = structlog.get_logger(__name__)


def install(url: str) -> list[str]:
    """Create or renew the read side (schemas, tables, views, the role ledger_auditor) of the database at `url`.

    Returns the projections that stay at the tables of an earlier release until they are rebuilt.
    """
    return versions.install(url, ALL)


def status(url: str) -> list[ProjectionStatus]:
    """How each live projection stands, by name. Raises NotInstalled before `install`."""
    return versions.status(url, ALL)


def rebuild(url: str, secrets: Secrets, name: str, progress: Progress = lambda done, total: None) -> int:
    """Derive one projection again from the log and switch over; returns the version that is live now."""
    return rebuild_all(url, secrets, [name], progress)[name]


def rebuild_all(
    url: str, secrets: Secrets, names: Collection[str], progress: Progress = lambda done, total: None
) -> dict[str, int]:
    """The same of several, which decode the log once; returns the versions by name.

    Raises Outdated where their views ask for what the tables of others lack, which have to be rebuilt first.
    """
    try:
        numbers = rebuilding.rebuild(url, secrets, [each for each in ALL if each.name in names], progress)
    except versions.LACKING as error:
        with versions.connect(url, "status") as connection:
            old = versions.left_behind(connection, ALL)
        if not old:
            raise
        raise versions.outdated(*old) from error
    install(url)  # the views of others that rested on those of these, where their columns are new
    return numbers


class Runner:
    """Applies the log at `url` to the live version of each projection. `run` is for one thread."""

    def __init__(self, url: str, secrets: Secrets, projections: Sequence[Definition] = ALL) -> None:
        self._url = url
        self._secrets = secrets
        self._projections = projections
        self._waiting = Lasting(_log, "projections.waiting")
        self._stopped: dict[str, tuple[float, Stopped]] = {}  # when to try again, and why it stands still

    def run(self, stop: threading.Event) -> None:
        """Keep up until `stop` is set, looked at twice a second; a database that is away is waited for."""
        while not stop.is_set():
            try:
                with ExitStack() as connections:
                    self._keep_up(connections, stop)
            except (psycopg.OperationalError, NotInstalled, Fork) as error:
                self._waiting.failed(str(error).strip())
                stop.wait(RECONNECT_SECONDS)

    def catch_up(self, target_size: int | None = None) -> None:
        """Apply what is committed now, `target_size` leaves at most. Raises Stopped where a projection could not."""
        self._stopped.clear()
        with ExitStack() as connections, rare_collections():
            self._pull(*self._open(connections), threading.Event(), target_size)
        for _, stopped in self._stopped.values():
            raise stopped

    def _open(self, connections: ExitStack) -> tuple[Log, Applier]:
        log = Log(connections.enter_context(versions.connect(self._url, "projections reader")))
        writer = connections.enter_context(versions.connect(self._url, "projections"))
        return log, Applier(writer, log, self._secrets)

    def _keep_up(self, connections: ExitStack, stop: threading.Event) -> None:
        listener = connections.enter_context(versions.connect(self._url, "projections listener"))
        listener.execute(SQL("LISTEN {}").format(Identifier(CHANNEL)))
        log, applier = self._open(connections)
        while not stop.is_set():
            self._pull(log, applier, stop)
            self._waiting.went_well()
            for _ in listener.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass

    def _pull(self, log: Log, applier: Applier, stop: threading.Event, target_size: int | None = None) -> None:
        """Go round the projections until none has anything left to do."""
        applied = 1
        while applied and not stop.is_set():
            size = log.size() if target_size is None else min(log.size(), target_size)
            applied = sum(self._advance(applier, definition, size) for definition in self._projections)

    def _advance(self, applier: Applier, definition: Definition, size: int) -> int:
        retry_at, _ = self._stopped.get(definition.name, (0.0, None))
        if time.monotonic() < retry_at:
            return 0
        try:
            applied = applier.advance(definition, size)
        except Stopped as stopped:
            self._stopped[definition.name] = (time.monotonic() + RETRY_SECONDS, stopped)
            _log.error("projection.stopped", projection=stopped.name, leaf=stopped.leaf_index, reason=stopped.reason)
            applier.record(stopped)
            return 0
        self._stopped.pop(definition.name, None)
        return applied


__all__ = [
    "ALL",
    "NAMES",
    "NotInstalled",
    "Outdated",
    "ProjectionStatus",
    "Runner",
    "Stopped",
    "install",
    "rebuild",
    "rebuild_all",
    "status",
]
