"""`disclosure.check`: which findings making a disclosure would raise and close, by the very rules that would.

One read-only snapshot of the database: the disclosure is decided over the streams as they stand, and what it would
become is folded like any other entry, after those that the tables of findings do not have yet. PostgreSQL itself
refuses every write in such a transaction.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from psycopg import Connection, Cursor, IsolationLevel

from ledger.app import Submission
from ledger.checked import Checked, ExpectedFinding, NotNow, WouldBeRefused
from ledger.clock import Clock, system_clock
from ledger.deciding import Streams, refuse_erased
from ledger.domain import disclosures
from ledger.domain.disclosures import CheckDisclosure
from ledger.domain.errors import Refused
from ledger.domain.model import Event, Happened
from ledger.erasure.keyring import Keyring
from ledger.storage.entries import Heading, StoredEntry, decode, encode, personal_data
from ledger.storage.sql import QUERIES, queries
from projections import versions
from projections.findings import fold
from projections.findings.customers import tails
from projections.findings.facts import Facts, Finding
from projections.findings.records import Customer
from projections.findings.registry import FINDINGS
from projections.findings.report import FINDINGS_REPORT, Past
from projections.log import Log

T = TypeVar("T")
MOST_BEHIND: Final = 5_000
"""Events at most that the tables of findings may be behind the log: they are folded anew for every question."""
MOST_CLOSED: Final = 100
"""Findings at most that an answer lists as closed: it must fit into one message."""
_SQL = queries(Path(__file__).with_suffix(".sql"))
_OPTIONS: Final = "-c timezone=UTC -c statement_timeout=5s"
_GRAVEST: Final = ("high", "medium", "low")
_SEALED: Final = {"commitment": "", "key": 1}


class Checker:
    """Answers `disclosure.check` over the database at `url`, one question at a time; connects when it is asked."""

    def __init__(self, url: str, clock: Clock = system_clock) -> None:
        self._url = url
        self._clock = clock
        self._opened: _Opened | None = None

    def check(self, question: Submission) -> Checked:
        """What making the disclosure in question would do. Raises `NotNow`."""
        return self._over(lambda snapshot: snapshot.check(question, self._clock()))

    def ready(self) -> None:
        """Returns where questions can be answered now. Raises `NotNow`."""
        self._over(lambda snapshot: None)

    def close(self) -> None:
        """The connection is gone; the next question opens another."""
        if self._opened is not None:
            self._opened.connection.close()
        self._opened = None

    def _over(self, work: "Callable[[_Snapshot], T]") -> T:
        """What `work` makes of the present; tried twice, for a connection may be gone, or a rebuild switch over."""
        try:
            return self._once(work)
        except psycopg.Error:
            self.close()
        try:
            return self._once(work)
        except psycopg.errors.UndefinedTable:
            raise NotNow("not-installed", "The read side does not exist yet: run `promise-ledger migrate`.") from None
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            raise NotNow("database-away", f"The database does not answer: {type(error).__name__}.") from error

    def _once(self, work: "Callable[[_Snapshot], T]") -> T:
        opened = self._opened = self._opened or _open(self._url)
        with opened.connection.transaction(), opened.connection.cursor() as cursor:
            return work(_snapshot(cursor, opened))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A connection, and what is remembered of the log that is read on it."""

    connection: Connection[tuple[Any, ...]]
    log: Log
    streams: Streams


def _open(url: str) -> _Opened:
    connection = psycopg.connect(
        url, autocommit=True, connect_timeout=5, application_name="promise-ledger checks", options=_OPTIONS
    )
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    return _Opened(connection, Log(connection), Streams())


def _snapshot(cursor: Cursor[Any], opened: _Opened) -> "_Snapshot":
    """The present, the tables of the live findings in use. Raises `NotNow`."""
    head = cursor.execute(QUERIES["read_head"]).fetchone()
    live = cursor.execute(versions.QUERIES["position"], {"name": FINDINGS_REPORT.name}).fetchone()
    if head is None or live is None:
        raise NotNow("not-installed", "This database holds no ledger yet: run `promise-ledger migrate`.")
    version, size = versions.Version(*live), head[0]
    if version.digest != FINDINGS_REPORT.digest:
        raise NotNow("outdated", f"{versions.outdated(FINDINGS_REPORT.name)}.")
    if size - version.position > MOST_BEHIND:
        behind = size - version.position
        raise NotNow("behind", f"The findings are {behind} events behind the log: ask again in a moment.")
    versions.use(cursor, FINDINGS_REPORT.name, version.number)
    if opened.streams.size != size:
        opened.streams.forget()
        opened.streams.size = size
    opened.log.goes_on(head[3])
    unapplied = opened.log.read(version.position, size).entries if version.position < size else ()
    return _Snapshot(cursor, opened.streams, size, head[2].astimezone(UTC), unapplied)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The ledger at one size; `unapplied` are the last entries, which the tables of findings do not have yet."""

    cursor: Cursor[Any]
    streams: Streams
    size: int
    recorded_at: datetime
    unapplied: Sequence[StoredEntry]

    def ask(self, name: str, parameters: dict[str, Any]) -> list[Any]:
        """The rows of one named query of the log."""
        return self.cursor.execute(QUERIES[name], parameters).fetchall()

    def check(self, question: Submission, now: datetime) -> Checked:
        """What making the disclosure in question would do, were it recorded `now`."""
        command = question.command
        assert isinstance(command, CheckDisclosure)
        recorded_at = max(now, self.recorded_at)
        try:
            events = self._decide(command, recorded_at)
        except Refused as refused:
            said = WouldBeRefused(code=refused.code, message=refused.message)
            return Checked(source=question.source, id=question.command_id, log_size=self.size, refused=said)
        happened = Happened(command.occurred_at, recorded_at, command.actor, question.source)
        facts = self._fold([_entry(index, event, happened, command) for index, event in enumerate(events, self.size)])
        at_once = max(recorded_at, command.occurred_at)
        raised = [each for each in self._raised(facts, command.customer_id) if not _over(each, at_once)]
        closed = _sorted([*self._closed_lately(facts), *self._closed_in_tables(facts)])
        return Checked(
            source=question.source,
            id=question.command_id,
            log_size=self.size,
            findings=_sorted(_expected(each) for each in raised if each.opened_at <= at_once),
            later=_sorted(_expected(each) for each in raised if each.opened_at > at_once),
            closes=closed[:MOST_CLOSED],
            closes_more=max(0, len(closed) - MOST_CLOSED),
        )

    def _decide(self, command: CheckDisclosure, recorded_at: datetime) -> tuple[Event, ...]:
        """What the disclosure would become. Raises `Refused`."""
        self.streams.load(self, command.streams())
        events = disclosures.decide(command, lambda name: self.streams.state(self, name), recorded_at)
        key = Keyring(None).find(self.cursor, [command.customer_id]).get(command.customer_id)
        if key is not None:  # without the key-encryption key only the erased are known
            refuse_erased(command.customer_id, key)
        return events

    def _fold(self, entries: Sequence[StoredEntry]) -> Facts:
        """The rules, after they have seen what is unapplied and then `entries`."""
        facts = Facts(_Beside(self.cursor))
        both = [*self.unapplied, *entries]
        facts.prefetch(dict.fromkeys(key for entry in both for key in fold.needs(entry)))
        for entry in both:
            fold.apply(facts, entry)
        return facts

    def _raised(self, facts: Facts, customer_id: str) -> Iterator[Finding]:
        customer = facts.recall(f"customer:{customer_id}", Customer)
        for finding in (*facts.opened.values(), *(() if customer is None else tails(customer))):
            if finding.opened_by >= self.size:
                yield finding

    def _closed_lately(self, facts: Facts) -> Iterator[ExpectedFinding]:
        """What would be closed of the findings that are not in the tables as rows yet."""
        for finding in facts.opened.values():
            if finding.closed_by is not None and finding.opened_by < self.size <= finding.closed_by:
                yield _expected(finding, opened_by=finding.opened_by)

    def _closed_in_tables(self, facts: Facts) -> Iterator[ExpectedFinding]:
        closed = {key: closing for key, closing in facts.closed.items() if closing.closed_by >= self.size}
        if not closed:
            return
        asked = {"leaves": [leaf for leaf, _ in closed], "numbers": [number for _, number in closed]}
        rows = self.cursor.execute(_SQL["closed"], asked)
        for leaf, number, code, subject, customer_id, case_id, opened_at, detail in rows:
            closing = closed[leaf, number]
            row = Finding(leaf, number, code, subject, customer_id, case_id, opened_at, opened_at, detail or {})
            row.closed_at = closing.closed_at
            yield _expected(row, opened_by=leaf)


class _Beside(Past):
    """The past, and beside it the links of entries that the tables do not have, or never will."""

    def __init__(self, cursor: Cursor[Any]) -> None:
        super().__init__(cursor)
        self._linked: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    def link(self, kind: str, source: str, target: str, leaf_index: int) -> None:
        self._linked[kind, source].append(target)

    def targets(self, kind: str, sources: Collection[str]) -> list[str]:
        beside = [target for source in sources for target in self._linked.get((kind, source), ())]
        return super().targets(kind, sources) + beside

    def downstream(self, kind: str, source: str) -> list[str]:
        found = dict.fromkeys(super().downstream(kind, source))
        waiting = [source, *found]
        while waiting:
            for target in self._linked.get((kind, waiting.pop()), ()):
                fresh = [each for each in (target, *super().downstream(kind, target)) if each not in found]
                found.update(dict.fromkeys(fresh))
                waiting += fresh
        return sorted(found.keys() - {source})


def _entry(leaf_index: int, event: Event, happened: Happened, command: CheckDisclosure) -> StoredEntry:
    """The entry that `event` would become, as the log would give it back."""
    heading = Heading("", event.stream, 1, happened, "", "", command.case_id)
    personal = None if personal_data(event) is None else _SEALED
    return decode(leaf_index, event.TOPIC, encode(event, heading, personal))


def _over(finding: Finding, at: datetime) -> bool:
    """Whether it was closed by then, or before it opens: nobody would ever see it open."""
    return finding.closed_at is not None and finding.closed_at <= max(finding.opened_at, at)


def _expected(finding: Finding, *, opened_by: int | None = None) -> ExpectedFinding:
    severity, rule = FINDINGS[finding.code]
    return ExpectedFinding(
        code=finding.code,
        severity=severity,
        rule=rule,
        subject=finding.subject,
        customer_id=finding.customer_id,
        case_id=finding.case_id,
        opened_at=finding.opened_at,
        closed_at=finding.closed_at,
        opened_by=opened_by,
        detail=finding.detail,
    )


def _sorted(findings: Collection[ExpectedFinding] | Iterator[ExpectedFinding]) -> tuple[ExpectedFinding, ...]:
    """Gravest first, then in the order in which they open."""
    return tuple(
        sorted(findings, key=lambda each: (_GRAVEST.index(each.severity), each.opened_at, each.code, each.subject))
    )
