"""Health by progress: not whether processes answer, but whether commands, projections and the timer get on."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import dict_row, tuple_row
from tzdata import IANA_VERSION  # type: ignore[import-untyped]

from ledger.recovery.records import records
from projections.published import Published, reckoned_otherwise
from projections.runner import status
from projections.versions import NotInstalled, ProjectionStatus, outdated

STALE_SECONDS = 10.0
LAG_SECONDS = 30.0
RECOVERY_SHOWN = timedelta(days=30)
PARTS = ("intake", "timer", "eraser", "projections", "relay", "checks")


@dataclass(frozen=True, slots=True)
class Health:
    """What was found. `problems` has one sentence for each thing that does not get on; none means healthy."""

    size: int | None
    """Events in the log; None where the database did not say."""
    signed_size: int | None
    """Events under the newest stored checkpoint; None as above."""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    projections: list[dict[str, Any]] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    """What somebody should look at though everything gets on: a witness that is down while the others are enough."""

    @property
    def healthy(self) -> bool:
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it, with `status` "ok" or "failing"."""
        return {
            "status": "ok" if self.healthy else "failing",
            "problems": list(self.problems),
            "notices": list(self.notices),
            "size": self.size,
            "signed_size": self.signed_size,
            "parts": self.parts,
            "projections": self.projections,
        }


# Of checkpoints not those of a log that ended: one that goes on from it may be shorter.
_LOG = """
SELECT (SELECT size FROM ledger.head) AS size,
    extract(epoch FROM (SELECT recorded_at FROM ledger.head))::float8 AS recorded_at,
    coalesce((
        SELECT size FROM ledger.checkpoints
        WHERE starts_with(note, (SELECT origin FROM ledger.head) || E'\\n') ORDER BY size DESC LIMIT 1
    ), 0) AS signed_size,
    coalesce((SELECT max(notification_id) FROM ledger.events), 0) AS stored
"""
# When the first event that a projection has not applied was recorded; the entry itself says so.
_WAITING_SINCE = """
SELECT (convert_from(state, 'UTF8')::json ->> 'recorded_at')::timestamptz AS recorded_at
FROM ledger.events WHERE notification_id = %s
"""


def health(url: str) -> Health:
    """How the ledger at `url` gets on. Never raises for a database that is away: that is the answer then."""
    try:
        with psycopg.connect(url, row_factory=dict_row, autocommit=True, connect_timeout=5) as connection:
            log = connection.execute(_LOG).fetchone()
            beats = connection.execute("SELECT part, at, detail FROM service.heartbeat ORDER BY part").fetchall()
            runners = status(url)
            behind = [_behind(connection, runner) for runner in runners]
            recoveries = records(connection)
            published = Published.read(connection.cursor(row_factory=tuple_row), log["size"] or 0 if log else 0)
    except psycopg.Error as error:
        reason = str(error).strip().split("\n")[0]
        sentence = f"the database does not answer: {reason}"
        return Health(None, None, problems=(sentence,))
    except NotInstalled as error:
        return Health(None, None, problems=(str(error),))
    assert log is not None
    if log["size"] is None:
        gone = f"the log's head row is gone, {log['stored']} events are stored: run `promise-ledger verify`"
        begin = "the database holds no ledger: run `promise-ledger migrate`"
        return Health(0, log["signed_size"], problems=(gone if log["stored"] or log["signed_size"] else begin,))
    now = datetime.now(UTC)
    parts = {
        row["part"]: {"seconds_ago": round((now - row["at"]).total_seconds(), 3), **row["detail"]} for row in beats
    }
    problems = [sentence for part in PARTS for sentence in _part_problems(part, parts.get(part))]
    if max(log["signed_size"], log["stored"], *(runner.position for runner in runners)) > log["size"]:
        problems.append("more was signed, stored or projected than the log's head says: run `promise-ledger verify`")
    problems += [sentence for sentence in behind if sentence is not None]
    unpublished, failing = _witnesses(parts.get("intake", {}).get("witnesses"))
    stamps = parts.get("intake", {}).get("timestamps") or {}
    if stamps.get("failure"):
        failing.append(stamps["failure"])
    problems += unpublished
    projections = [runner.to_dict() for runner in runners]
    if old := [runner.name for runner in runners if runner.outdated]:
        problems.append(str(outdated(*old)))
    for runner in runners:
        if runner.stopped_at is not None and not runner.outdated:
            problems.append(
                f"projection {runner.name} stopped at leaf {runner.stopped_at}: {runner.reason}; "
                f"mend it, then `promise-ledger rebuild {runner.name}`"
            )
    recent = [each.sentence for each in recoveries if now - each.recorded_at < RECOVERY_SHOWN]
    notices = [*reckoned_otherwise(published.calendars(), IANA_VERSION), *recent, *failing, *_ahead(log, now)]
    return Health(log["size"], log["signed_size"], parts, projections, tuple(problems), tuple(notices))


def _ahead(log: dict[str, Any], now: datetime) -> list[str]:
    """One sentence where the last event was recorded by a clock that was ahead: times never decrease, so they stand."""
    seconds = (log["recorded_at"] or 0.0) - now.timestamp()
    if seconds <= STALE_SECONDS:
        return []
    return [
        f"the last event was recorded by a clock {seconds:.0f} s ahead of the one here: until that time has come all "
        "events get that time"
    ]


def _behind(connection: Connection[Any], runner: ProjectionStatus) -> str | None:
    """One sentence where the next event of a projection has waited for long and nothing says why."""
    if runner.lag_events <= 0 or runner.stopped_at is not None:
        return None
    row = connection.execute(_WAITING_SINCE, (runner.position + 1,)).fetchone()
    waited = 0.0 if row is None else (datetime.now(UTC) - row["recorded_at"]).total_seconds()
    if waited <= LAG_SECONDS:
        return None
    return f"projection {runner.name} does not get on: its next event, leaf {runner.position}, waits for {waited:.0f} s"


def _part_problems(part: str, said: dict[str, Any] | None) -> list[str]:
    if said is None:
        return [f"{part} has never been seen at work"]
    if said["seconds_ago"] > STALE_SECONDS:
        return [f"{part} was last seen {said['seconds_ago']:.0f} s ago"]
    if said["seconds_ago"] < -STALE_SECONDS:
        return [f"{part} was last seen {-said['seconds_ago']:.0f} s ahead of the clock here, so not lately"]
    problems = []
    if said.get("failure"):
        problems.append(f"{part} does not get on: {said['failure']}")
    if (idle := said.get("fetch_seconds_ago")) is not None and idle > STALE_SECONDS:
        problems.append(f"{part} has had no answer from the queue for {idle:.0f} s")
    if (idle := said.get("looked_seconds_ago")) is not None and idle > LAG_SECONDS:
        problems.append(f"{part} has not come to the end of a step for {idle:.0f} s")
    return problems


def _witnesses(said: dict[str, Any] | None) -> tuple[list[str], list[str]]:
    """(problems, notices): a checkpoint that waits for its quorum, and each witness that fails for a while."""
    if said is None:
        return [], []
    notices = [
        f"the witness {name} has not cosigned for {failing['seconds']:.0f} s: {failing['reason']}"
        for name, failing in said["failing"].items()
        if failing["seconds"] > STALE_SECONDS
    ]
    if said.get("failure"):
        return [said["failure"]], notices
    if said["waiting_seconds"] <= LAG_SECONDS:
        return [], notices
    waits = f"no checkpoint was published for {said['waiting_seconds']:.0f} s: the quorum {said['quorum']} is not met"
    return [waits], notices
