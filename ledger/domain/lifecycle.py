"""The life of a promise as one table; deciding, evolving, refusals and the diagram in docs/lifecycle.md read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Standing = Literal["conditional", "active", "suspended", "ended"]
EndedAs = Literal["kept", "broken", "released", "superseded", "expired"]
Fulfilment = Literal["none", "claimed", "verified"]
Verification = Literal["required", "not_required"]
When = Literal[
    "with a condition", "without a condition", "verification required", "verification not required", "told late"
]


class Position(Protocol):
    """What the table looks at: a promise."""

    @property
    def standing(self) -> Standing: ...
    @property
    def ended_as(self) -> EndedAs | None: ...
    @property
    def fulfilment(self) -> Fulfilment: ...
    @property
    def verification(self) -> Verification: ...


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: `event` may happen where standing and fulfilment are among those named, and leads to what `to_*` say.

    `to_*` None: that axis stays as it is. From `ended` only what ended as kept goes on, and what expired once it is
    told late that its condition was met in time. `when` narrows the row.
    """

    command: str
    event: str
    standings: tuple[Standing, ...]
    fulfilments: tuple[Fulfilment, ...]
    to_standing: Standing | None = None
    to_ended_as: EndedAs | None = None
    to_fulfilment: Fulfilment | None = None
    when: When | None = None


_OUTSTANDING: Final[tuple[Standing, ...]] = ("conditional", "active", "suspended")
_RUNNING: Final[tuple[Standing, ...]] = ("active", "suspended")
_UNVERIFIED: Final[tuple[Fulfilment, ...]] = ("none", "claimed")

# fmt: off
_T = Transition
TABLE: Final[tuple[Transition, ...]] = (
    # command, event, from these standings, and these fulfilments, to standing, ended as, to fulfilment
    _T("promise.make", "promise.made", (), (), "conditional", None, "none", when="with a condition"),
    _T("promise.make", "promise.made", (), (), "active", None, "none", when="without a condition"),
    _T("promise.meet_condition", "promise.activated", ("conditional",), ("none",), "active"),
    _T("promise.meet_condition", "promise.activated", ("ended",), ("none",), "active", when="told late"),
    _T("promise.expire_condition", "promise.condition_expired", ("conditional",), ("none",), "ended", "expired"),
    _T("promise.claim_kept", "promise.claimed_kept", _RUNNING, ("none",), None, None, "claimed",
       when="verification required"),
    _T("promise.claim_kept", "promise.claimed_kept", _RUNNING, ("none",), "ended", "kept", "claimed",
       when="verification not required"),
    _T("promise.verify", "promise.kept", (*_RUNNING, "ended"), ("claimed",), "ended", "kept", "verified"),
    _T("promise.dispute", "promise.disputed", _RUNNING, ("claimed",), None, None, "none"),
    _T("promise.dispute", "promise.disputed", ("ended",), ("claimed",), "active", None, "none"),
    _T("promise.suspend", "promise.suspended", ("active",), ("none",), "suspended"),
    _T("promise.resume", "promise.resumed", ("suspended",), _UNVERIFIED, "active"),
    _T("promise.reschedule", "promise.rescheduled", _OUTSTANDING, _UNVERIFIED),
    _T("promise.warn", "promise.at_risk", _OUTSTANDING, _UNVERIFIED),
    _T("promise.read_back", "promise.read_back", _OUTSTANDING, _UNVERIFIED),
    _T("promise.acknowledge_overdue", "promise.overdue_acknowledged", _RUNNING, ("none",)),
    _T("promise.reassign", "promise.reassigned", _OUTSTANDING, _UNVERIFIED),
    _T("promise.accept", "promise.accepted", _OUTSTANDING, _UNVERIFIED),
    _T("promise.break", "promise.broken", _OUTSTANDING, _UNVERIFIED, "ended", "broken", "none"),
    _T("promise.release", "promise.released", _OUTSTANDING, _UNVERIFIED, "ended", "released"),
    _T("promise.supersede", "promise.superseded", _OUTSTANDING, _UNVERIFIED, "ended", "superseded"),
    _T("promise.announce_warning", "promise.deadline_warned", _RUNNING, ("none",)),
    _T("promise.announce_deadline", "promise.deadline_passed", _RUNNING, ("none",)),
)
# fmt: on
_BY_EVENT: Final = {row.event: tuple(r for r in TABLE if r.event == row.event) for row in TABLE}
_EVENT_OF: Final = {row.command: row.event for row in TABLE}
_TIMER: Final = ("promise.expire_condition", "promise.announce_warning", "promise.announce_deadline")


def transition(event: str, promise: Position) -> Transition | None:
    """The row by which `event` (a topic) may happen to `promise` now; None where it may not."""
    for row in _BY_EVENT[event]:
        if promise.standing in row.standings and promise.fulfilment in row.fulfilments and _applies(row, promise):
            return row
    return None


def _applies(row: Transition, promise: Position) -> bool:
    if promise.standing == "ended" and promise.ended_as != _ended_as(row):
        return False
    match row.when:
        case "verification required":
            return promise.verification == "required"
        case "verification not required":
            return promise.verification == "not_required"
    return True


def _ended_as(row: Transition) -> EndedAs:
    """How a promise ended that goes on by this row."""
    return "expired" if row.when == "told late" else "kept"


def allows(command: str, promise: Position) -> bool:
    """True where some row lets `command` (a type) happen to `promise` now."""
    return transition(_EVENT_OF[command], promise) is not None


def possible(promise: Position) -> tuple[str, ...]:
    """The commands that the table allows a backend service now, in the table's order."""
    rows = (row for row in TABLE if row.command not in _TIMER and transition(row.event, promise) is not None)
    return tuple(dict.fromkeys(row.command for row in rows))


def diagram() -> str:
    """The table as a mermaid state diagram: a box for each standing and fulfilment that can be reached.

    Left out are the rows that move neither axis; `unmoving` lists them.
    """
    edges = dict.fromkeys(edge for row in TABLE if row.event not in unmoving() for edge in _edges(row))
    return "\n".join(["stateDiagram-v2", *(f"    {edge}" for edge in edges)]) + "\n"


def unmoving() -> tuple[str, ...]:
    """The events that move neither standing nor fulfilment."""
    return tuple(row.event for row in TABLE if row.to_standing is None and row.to_fulfilment is None)


def _edges(row: Transition) -> Iterator[str]:
    label = row.event if row.when is None else f"{row.event} ({row.when})"
    if not row.standings:
        yield f"[*] --> {_box(row.to_standing, row.to_fulfilment)} : {label}"
    for standing in row.standings:
        for fulfilment in row.fulfilments:
            if (standing, fulfilment) in _REACHED:
                source = _box(standing, fulfilment, _ended_as(row))
                after = row.to_fulfilment or fulfilment
                yield f"{source} --> {_box(row.to_standing or standing, after, row.to_ended_as)} : {label}"


def _box(standing: Standing | None, fulfilment: Fulfilment | None, ended_as: EndedAs | None = None) -> str:
    name = ended_as if standing == "ended" else standing
    return f"{name}_{fulfilment}" if fulfilment != "none" else f"{name}"


def _reached() -> frozenset[tuple[Standing, Fulfilment]]:
    """Every pair of standing and fulfilment that some row leads to."""
    found: set[tuple[Standing, Fulfilment]] = set()
    while True:
        more = set(found)
        for row in TABLE:
            sources = [pair for pair in found if pair[0] in row.standings and pair[1] in row.fulfilments]
            for standing, fulfilment in sources or ([("active", "none")] if not row.standings else []):
                more.add((row.to_standing or standing, row.to_fulfilment or fulfilment))
        if more == found:
            return frozenset(found)
        found = more


_REACHED: Final = _reached()
