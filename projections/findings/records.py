"""What the rules remember from one event to the next: small frozen records by key, and their form as JSON.

Keys: `promise:P-1`, `disclosure:D-1`, `problem:X-1` … are streams; `topic:problem:X-1/C-1` is one thing as far as one
customer is concerned (no id holds a slash); the rest names what it holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from ledger.domain.assumptions import Assumption
from ledger.domain.concerns import Concern
from ledger.domain.promise_state import Promise


def topic_key(about: str, customer_id: str) -> str:
    """The key of one thing (a stream) as far as one customer is concerned."""
    return f"topic:{about}/{customer_id}"


ANY_OUTAGE: Final = "*"
"""In place of an outage that nobody named: no id is an asterisk."""


Dated = tuple[datetime, int]
"""When something happened, and the entry that says so."""
LAST: Final = 200
"""So many of one kind are remembered of one thing; the oldest are forgotten."""


def dated(before: tuple[Dated, ...], one: Dated) -> tuple[Dated, ...]:
    """All of them in the order in which they happened, whatever order they were recorded in."""
    return tuple(sorted((*before, one)))[-LAST:]


def first_since(all_of_them: tuple[Dated, ...], since: datetime) -> Dated | None:
    """The first of them at `since` or later."""
    return next((each for each in all_of_them if each[0] >= since), None)


class Slot(NamedTuple):
    """A finding that is not closed: where its row is, and when it opens."""

    opened_by: int
    number: int
    opened_at: datetime


class Said(NamedTuple):
    """One disclosure. `false_since`: since when it, or what it rests on (`falsehood`), is known to be false."""

    customer_id: str
    made_at: datetime
    about: str | None  # a stream
    reason_class: str | None = None
    control: str | None = None
    false_since: datetime | None = None
    falsehood: str | None = None
    corrected_at: datetime | None = None
    outage_id: str | None = None  # named, or ANY_OUTAGE
    owed_from: tuple[datetime, ...] = ()  # a correction: since each of the falsehoods was known
    attempts: tuple[Dated, ...] = ()  # to reach them about it


class Topic(NamedTuple):
    """One thing (a problem, promise or concern) as far as one customer is concerned."""

    told: Dated | None = None  # first
    affected_at: datetime | None = None  # of a problem: when they were found to be affected
    disclose_by: datetime | None = None  # of a problem that touches them: until when the policy allows not to tell
    apologies: tuple[Dated, ...] = ()
    failed_at: datetime | None = None  # of a problem: when its resolution failed for them, as far as that is unanswered
    spoken: Dated | None = None  # first: somebody talked with them about it
    without_way_forward: tuple[str, ...] = ()  # keys of disclosures and apologies
    ways_forward: tuple[Dated, ...] = ()  # what was said with a date or a solution
    withheld: Dated | None = None  # last
    withholding: str | None = None  # that one: its stream
    approver: str | None = None  # of that one, where it is not who asked for it
    problems: tuple[str, ...] = ()  # that a promise is touched by
    broken: tuple[str, ...] = ()  # keys of promises broken because of a problem


class Trouble(NamedTuple):
    """One problem."""

    known_since: datetime
    severity: int
    owner: str  # first
    cause_class: str | None = None
    control: str | None = None
    cause_at: datetime | None = None
    resolved_at: datetime | None = None
    root_cause_addressed: bool = False
    caused_at: tuple[datetime, ...] = ()  # each of its last causes, in the order of time: class and control beside
    causes: tuple[tuple[str, str], ...] = ()
    owned_from: tuple[datetime, ...] = ()  # by whoever took it: `owners`, side by side, in the order of time
    owners: tuple[str, ...] = ()


class Owed(NamedTuple):
    """One follow-up: what it is about (a stream)."""

    about: str | None


class Outage(NamedTuple):
    """One outage; without `declared_at` somebody named it and nobody declared it yet."""

    declared_at: datetime | None = None
    ended_at: datetime | None = None
    last_done_at: datetime | None = None  # of what its list waits for: its end, the notes cleared and followed up


class Listened(NamedTuple):
    """A concern: when it was last acknowledged."""

    acknowledged: Dated


class Gone(NamedTuple):
    """An erased customer: when that came into effect, as the ledger wrote it down."""

    requested: Dated


class Fixed(NamedTuple):
    """The last problems whose root cause, of one class, was said to be addressed, side by side."""

    problems: tuple[str, ...] = ()
    at: tuple[datetime, ...] = ()


class Lead(NamedTuple):
    """One offering: its versions, side by side, in the order in which they were published."""

    published_at: tuple[datetime, ...] = ()
    valid_from: tuple[datetime, ...] = ()
    valid_to: tuple[datetime | None, ...] = ()
    seconds: tuple[int, ...] = ()


class Policies(NamedTuple):
    """All versions of all policies, side by side, in the order in which they take effect."""

    effective_from: tuple[datetime, ...] = ()
    hours: tuple[Mapping[str, int], ...] = ()


class Pace(NamedTuple):
    """Our last deliveries of one kind, side by side in the order of the log; `ordered` are the same seconds, sorted."""

    claimed_at: tuple[datetime, ...] = ()
    seconds: tuple[int, ...] = ()
    ordered: tuple[int, ...] = ()
    latest: datetime | None = None  # none of them was claimed later


class Realistic(NamedTuple):
    """What an overpromised promise would have needed, and what decided that."""

    seconds: int
    detail: Mapping[str, int] = {}


class Customer(NamedTuple):
    """One customer: a row of the table `tails`. The two findings of each customer are its tails.

    A tail (`*_from`) is the moment at which the finding opens unless somebody speaks; null: it does not open.
    """

    customer_id: str
    owed: int = 0  # promises outstanding
    owed_since: datetime | None = None
    lost_at: datetime | None = None
    said_at: datetime | None = None
    heard_at: datetime | None = None  # said or heard
    silent_from: datetime | None = None
    silent_by: int | None = None
    silent_recorded_at: datetime | None = None
    neglected_from: datetime | None = None
    neglected_by: int | None = None
    neglected_recorded_at: datetime | None = None


KINDS: Final[Mapping[str, type[Any]]] = {
    "promise": Promise,
    "assumption": Assumption,
    "concern": Concern,
    "listened": Listened,
    "disclosure": Said,
    "topic": Topic,
    "problem": Trouble,
    "followup": Owed,
    "outage": Outage,
    "erasure": Gone,
    "fixed": Fixed,
    "offering": Lead,
    "policies": Policies,
    "pace": Pace,
    "realistic": Realistic,
}
_MOMENTS: Final = {
    kind: frozenset(name for name, said in kind.__annotations__.items() if "datetime" in str(said))
    for kind in KINDS.values()
}

_DEFAULTS: Final = {
    kind: tuple(kind._field_defaults.get(name, Ellipsis) for name in kind._fields) for kind in KINDS.values()
}
"""Of each kind the defaults of its fields, in their order; Ellipsis, which nothing equals, where there is none."""


@dataclass(slots=True)
class Remembered:
    """What is known under one key: a record (None: nothing yet), its findings not closed by code, its case."""

    state: Any = None
    open: dict[str, Slot] = field(default_factory=dict)
    case_id: str | None = None
    stored: bool = field(default=False, compare=False)  # there is a row of it


def encode(remembered: Remembered) -> str:
    """As JSON; what is at its default is left out, so that a record may gain a member."""
    state = remembered.state
    value: dict[str, Any] = {}
    if state is not None:
        kind = type(state)
        value["state"] = {
            name: member
            for name, member, default in zip(kind._fields, state, _DEFAULTS[kind], strict=True)
            if member != default
        }
    if remembered.open:
        value["open"] = {code: tuple(slot) for code, slot in remembered.open.items()}
    if remembered.case_id is not None:
        value["case"] = remembered.case_id
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z).decode()


def decode(key: str, text: str) -> Remembered:
    """What `encode` made of what is remembered under `key`."""
    value = orjson.loads(text)
    state = None
    if (members := value.get("state")) is not None:
        kind = KINDS[key.partition(":")[0]]
        moments = _MOMENTS[kind]
        state = kind(**{name: _member(member, name in moments) for name, member in members.items()})
    slots = {
        code: Slot(leaf, number, datetime.fromisoformat(at))
        for code, (leaf, number, at) in value.get("open", {}).items()
    }
    return Remembered(state, slots, value.get("case"), stored=True)


def _member(member: Any, is_moment: bool) -> Any:
    if type(member) is list:
        return tuple(_member(each, is_moment) for each in member)
    if is_moment and type(member) is str:  # an entry stands beside a moment as its index
        return datetime.fromisoformat(member)
    return member
