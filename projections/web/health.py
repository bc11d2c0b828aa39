"""Health by progress: not whether processes answer, but whether commands, projections and the timer get on."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from projections.runner import status

STALE_SECONDS = 10.0
LAG_SECONDS = 30.0
PARTS = ("intake", "timer", "projections")


@dataclass(frozen=True, slots=True)
class Health:
    """What was found. `problems` has one sentence for each thing that does not get on; none means healthy."""

    size: int
    """Events in the log."""
    signed_size: int
    """Events under the newest stored checkpoint."""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    projections: list[dict[str, Any]] = field(default_factory=list)
    problems: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it, with `status` "ok" or "failing"."""
        return {
            "status": "ok" if self.healthy else "failing",
            "problems": list(self.problems),
            "size": self.size,
            "signed_size": self.signed_size,
            "parts": self.parts,
            "projections": self.projections,
        }


_LOG = """
SELECT head.size, coalesce((SELECT max(size) FROM ledger.checkpoints), 0) AS signed_size FROM ledger.head
"""


def health(url: str) -> Health:
    """How the ledger at `url` gets on. Never raises for a database that is away: that is the answer then."""
    try:
        with psycopg.connect(url, row_factory=dict_row, autocommit=True, connect_timeout=5) as connection:
            log = connection.execute(_LOG).fetchone()
            beats = connection.execute("SELECT part, at, detail FROM service.heartbeat ORDER BY part").fetchall()
        runners = status(url)
    except psycopg.Error as error:
        sentence = f"the database does not answer: {str(error).strip().splitlines()[0]}"
        return Health(0, 0, problems=(sentence,))
    if log is None:
        return Health(0, 0, problems=("the database holds no ledger: run `promise-ledger migrate`",))
    now = datetime.now(UTC)
    parts = {
        row["part"]: {"seconds_ago": round((now - row["at"]).total_seconds(), 3), **row["detail"]} for row in beats
    }
    problems = [sentence for part in PARTS for sentence in _part_problems(part, parts.get(part))]
    projections = [runner.to_dict() for runner in runners]
    for runner in runners:
        if runner.stopped_at is not None:
            problems.append(
                f"projection {runner.name} stopped at leaf {runner.stopped_at}: {runner.reason}; "
                f"mend it, then `promise-ledger rebuild {runner.name}`"
            )
    return Health(log["size"], log["signed_size"], parts, projections, tuple(problems))


def _part_problems(part: str, said: dict[str, Any] | None) -> list[str]:
    if said is None:
        return [f"{part} has never been seen at work"]
    if said["seconds_ago"] > STALE_SECONDS:
        return [f"{part} was last seen {said['seconds_ago']:.0f} s ago"]
    problems = []
    if said.get("failure"):
        problems.append(f"{part} does not get on: {said['failure']}")
    if (idle := said.get("fetch_seconds_ago")) is not None and idle > STALE_SECONDS:
        problems.append(f"{part} has had no answer from the queue for {idle:.0f} s")
    return problems
