"""Trying a policy: the history once more as it was, once as if a draft had been in effect, and the difference.

The findings come from the very fold of the report, over the same log with the policies swapped, into temporary tables
that vanish with their connection. Warnings and escalations are those that a timer which never stood still would have
announced, of both. Nothing is appended, and no read table is touched.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

from psycopg import Connection

from ledger.collecting import rare_collections
from ledger.domain.calendars import Calendar, NotCovered, due_in
from ledger.domain.deadlines import DeadlineWarned, escalations_ahead, reached, warnings_ahead
from ledger.domain.dispatch import evolve
from ledger.domain.model import Event, Happened
from ledger.domain.policies import PolicyPublished, PublishPolicy, decide
from ledger.domain.promise_messages import PromiseMade
from ledger.domain.promise_state import Promise
from ledger.storage.entries import Heading, StoredEntry, decode
from ledger.storage.sql import queries
from projections.applying import CATCH_UP_BATCH, Progress
from projections.findings.anew import begin, keep_tails
from projections.log import Batch, Log
from projections.published import Published, warn_percents
from projections.versions import connect

_SQL = queries(Path(__file__).with_suffix(".sql"))
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)
_FETCHED: Final = 5_000


class Opened(NamedTuple):
    """One finding that opened: `opened_by` is the leaf that it comes from."""

    opened_by: int
    code: str
    subject: str
    customer_id: str | None
    opened_at: datetime


class Moved(NamedTuple):
    """One finding that opens at another moment under the draft."""

    opened_by: int
    code: str
    subject: str
    customer_id: str | None
    opened_at: datetime
    under_draft: datetime


class Announced(NamedTuple):
    """A warning (`percent`) or an escalation (`to`) of one promise, and when it was due to be announced."""

    promise_id: str
    due_at: datetime
    what: str
    at: datetime


class Due(NamedTuple):
    """A promise in business time whose due time the draft's calendar gives otherwise; None: beyond that calendar."""

    promise_id: str
    calendar_id: str
    due_in: str
    due_at: datetime
    under_draft: datetime | None


@dataclass(slots=True)
class Trial:
    """What would change. Of findings, warnings and escalations: those that only the draft has, those it has not."""

    size: int
    until: datetime
    opened: list[Opened] = field(default_factory=list)
    gone: list[Opened] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    warnings_added: list[Announced] = field(default_factory=list)
    warnings_gone: list[Announced] = field(default_factory=list)
    escalations_added: list[Announced] = field(default_factory=list)
    escalations_gone: list[Announced] = field(default_factory=list)
    due_times: list[Due] = field(default_factory=list)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many of each list: findings by code, warnings by percentage, escalations by whom, dues by calendar."""
        return {
            "opened": Counter(each.code for each in self.opened),
            "gone": Counter(each.code for each in self.gone),
            "moved": Counter(each.code for each in self.moved),
            "warnings_added": Counter(each.what for each in self.warnings_added),
            "warnings_gone": Counter(each.what for each in self.warnings_gone),
            "escalations_added": Counter(each.what for each in self.escalations_added),
            "escalations_gone": Counter(each.what for each in self.escalations_gone),
            "due_times": Counter(each.calendar_id for each in self.due_times),
        }


@dataclass(frozen=True, slots=True)
class Draft:
    """A policy that nobody published, and since when it is held to have been in effect."""

    policy: PolicyPublished
    calendars: dict[str, Calendar]
    since: datetime

    @classmethod
    def of(cls, command: PublishPolicy, published: Published, *, since: datetime | None, now: datetime) -> "Draft":
        """The policy that `command` would become now. Raises Refused where the ledger would refuse it."""
        policy, *rest = decide(command.model_copy(update={"effective_from": None}), published.calendar_state, now)
        assert isinstance(policy, PolicyPublished)
        calendars: list[Any] = [evolve(None, each, _happened(now)) for each in rest]
        rules = {each.calendar_id: each.versions[0].rules for each in calendars}
        since = since or _ALWAYS
        return cls(policy.model_copy(update={"effective_from": since}), rules, since)

    def instead(self, entries: Iterable[StoredEntry]) -> Iterator[StoredEntry]:
        """The entries without the policies that took effect since: the draft was in effect instead of them."""
        for entry in entries:
            event = entry.event
            if not (isinstance(event, PolicyPublished) and event.effective_from >= self.since):
                yield entry

    def policy_of(self, promise: Promise, otherwise: PolicyPublished | None) -> PolicyPublished | None:
        """The policy that the promise would have been made under."""
        return self.policy if promise.made_at >= self.since else otherwise


def try_policy(
    url: str,
    command: PublishPolicy,
    *,
    since: datetime | None,
    until: datetime,
    progress: Progress = lambda done, total: None,
) -> Trial:
    """What would have been otherwise until `until`, had `command` been in effect since `since` (None: always).

    Takes twice the time of a rebuild of the findings. Raises Refused where the draft is none.
    """
    with connect(url, "policy try") as reader:
        log = Log(reader)
        trial = Trial(log.size(), until)
        published = Published.read(reader.cursor(), trial.size)
        draft = Draft.of(command, published, since=since, now=until)
        with connect(url, "policy try") as actual, connect(url, "policy try") as drafted, rare_collections():
            _replay(log, draft, (actual, drafted), trial.size, progress)
            _compare_findings(trial, _opened(actual, until), _opened(drafted, until))
        _compare_promises(trial, reader, published, draft, progress)
    return trial


def _replay(log: Log, draft: Draft, connections: Sequence[Connection[Any]], size: int, progress: Progress) -> None:
    """Fill temporary tables with the findings, in the first connection as they were, in the other under the draft."""
    actual, drafted = connections
    folds = [begin(connection) for connection in connections]
    first: list[StoredEntry] = [_entry(-1, draft.policy, _ALWAYS)]
    for start in range(0, size, CATCH_UP_BATCH):
        batch = log.read(start, min(start + CATCH_UP_BATCH, size))
        swapped = Batch(batch.first, batch.stop, [*first, *draft.instead(batch.entries)])
        first = []
        for connection, fold, read in ((actual, folds[0], batch), (drafted, folds[1], swapped)):
            with connection.transaction(), connection.cursor() as cursor:
                fold(cursor, read)
        progress(batch.stop, 2 * size)
    for connection in connections:
        with connection.transaction(), connection.cursor() as cursor:
            keep_tails(cursor)


def _entry(leaf_index: int, event: Event, at: datetime) -> StoredEntry:
    """An event that no log holds, for what reads logs."""
    return StoredEntry(leaf_index, event, Heading("draft", event.stream, 1, _happened(at), "draft", "", None), None)


def _happened(at: datetime) -> Happened:
    return Happened(at, at, "draft", "draft")


def _opened(connection: Connection[Any], until: datetime) -> Iterator[Opened]:
    with connection.transaction(), connection.cursor("opened") as cursor:
        cursor.itersize = _FETCHED
        for row in cursor.execute(_SQL["opened"], {"until": until}):
            yield Opened(*row)


def _key(finding: Opened) -> tuple[int, str, str, str]:
    return finding.opened_by, finding.code, finding.subject, finding.customer_id or ""


def _compare_findings(trial: Trial, actual: Iterable[Opened], drafted: Iterable[Opened]) -> None:
    """Of one cause, code and subject the first is compared with the first, and so on."""
    both_in_order = heapq.merge(
        ((each, 0) for each in actual), ((each, 1) for each in drafted), key=lambda pair: _key(pair[0])
    )
    for _, group in groupby(both_in_order, key=lambda pair: _key(pair[0])):
        both: tuple[list[Opened], list[Opened]] = ([], [])
        for finding, which in group:
            both[which].append(finding)
        for before, after in zip_longest(*both):
            if before is None:
                trial.opened.append(after)
            elif after is None:
                trial.gone.append(before)
            elif before.opened_at != after.opened_at:
                trial.moved.append(Moved(**before._asdict(), under_draft=after.opened_at))


def _compare_promises(
    trial: Trial, reader: Connection[Any], published: Published, draft: Draft, progress: Progress
) -> None:
    done = trial.size
    with reader.transaction(), reader.cursor("promises", binary=True) as cursor:
        cursor.itersize = _FETCHED
        rows = cursor.execute(_SQL["promises"], {"stop": trial.size})
        for _, group in groupby(rows, key=lambda row: row[0]):
            entries = [decode(leaf_index, topic, bytes(state)) for _, leaf_index, topic, state in group]
            _compare_promise(trial, entries, published, draft)
            done += len(entries)
            progress(done, 2 * trial.size)
    progress(2 * trial.size, 2 * trial.size)


def _compare_promise(trial: Trial, entries: Sequence[StoredEntry], published: Published, draft: Draft) -> None:
    made = entries[0]
    assert isinstance(made.event, PromiseMade)
    promise: Any = evolve(None, made.event, made.happened)
    actual = published.policy_of(promise, made.leaf_index)
    drafted = draft.policy_of(promise, actual)
    if promise.made_at >= draft.since:
        trial.due_times += _due_otherwise(made.event, promise.made_at, draft)
    if drafted is actual:
        return
    calendar = published.calendar_of(promise)
    before, after = (_announced(entries, policy, calendar, trial.until) for policy in (actual, drafted))
    trial.warnings_added += sorted(after.warnings - before.warnings)
    trial.warnings_gone += sorted(before.warnings - after.warnings)
    trial.escalations_added += sorted(after.escalations - before.escalations)
    trial.escalations_gone += sorted(before.escalations - after.escalations)


class _Told(NamedTuple):
    """What a timer that never stood still would have announced of one promise."""

    warnings: set[Announced]
    escalations: set[Announced]


def _announced(
    entries: Sequence[StoredEntry], policy: PolicyPublished | None, calendar: Calendar | None, until: datetime
) -> _Told:
    told = _Told(set(), set())
    state: Any = None
    recorded = [each.happened.recorded_at for each in entries]
    for entry, since, stop in zip(entries, recorded, [*recorded[1:], until], strict=True):
        state = evolve(state, entry.event, entry.happened)
        if state.calendar_id is None:
            calendar = None
        stop = min(stop, until)
        state = _warn(told, state, policy, calendar, since, stop)
        if policy is not None:
            moments = escalations_ahead(state, policy.escalation_after_hours)
            steps = zip(policy.escalation_to, moments, strict=False)
            told.escalations.update(
                Announced(state.promise_id, state.due_at, to, at) for to, at in steps if max(at, since) < stop
            )
    return told


def _warn(
    told: _Told, state: Any, policy: PolicyPublished | None, calendar: Calendar | None, since: datetime, stop: datetime
) -> Any:
    """The promise after the warnings that were due while it stood so, from `since` until `stop`."""
    percents = warn_percents(policy)
    while since < min(stop, state.due_at):
        ahead = warnings_ahead(state, percents, calendar)
        found = reached(ahead, since) or next(iter(ahead), None)
        if found is None or found[1] >= stop:
            break
        percent, at = found
        told.warnings.add(Announced(state.promise_id, state.due_at, str(percent), at))
        event = DeadlineWarned(
            promise_id=state.promise_id, customer_id=state.customer_id, due_at=state.due_at, percent=percent
        )
        state, since = evolve(state, event, _happened(at)), max(since, at)
    return state


def _due_otherwise(made: PromiseMade, made_at: datetime, draft: Draft) -> Iterator[Due]:
    calendar = None if made.calendar_id is None else draft.calendars.get(made.calendar_id)
    if calendar is None or made.due_in is None or made.calendar_id is None:
        return
    try:
        due_at = due_in(calendar, made_at, made.due_in)
    except NotCovered:
        due_at = None
    if due_at != made.due_at:
        yield Due(made.promise_id, made.calendar_id, made.due_in, made.due_at, due_at)
