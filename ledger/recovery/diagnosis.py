"""What happened to a log, in sentences, and which command fits. Looks at what was found, and changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ledger.recovery.evidence import Kept, Stored, Unrelated

Guard = Literal["there", "missing", "damaged", "foreign"]
_GROUNDS = '--grounds "WHY"'
"""What each recovery wants to be given, and puts on record."""
_GUARD = f"promise-ledger recover guard {_GROUNDS}"
_STOP = "Stop every service that has this key, and keep one."


@dataclass(frozen=True, slots=True)
class Found:
    """All that was looked at. `lost` counts commands whose receipt names events that are not here."""

    stored: Stored
    guard: Guard
    kept: Sequence[Kept]
    unrelated: Sequence[Unrelated] = ()
    lost: int = 0
    not_looked_at: Sequence[str] = ()
    unfinished: str | None = None
    """The name of the log that `recover anew` began to make of this one."""
    ended: str | None = None
    """The name of the keys here and of the guard, where the database has long gone on as another log."""
    replaced: str | None = None
    """Why no service starts: the log names another key than the one here as the one that signs it now."""
    other_keys: Sequence[str] = ()
    """Which of the other keys here are not those of this log, in sentences."""

    @property
    def newest(self) -> Kept | None:
        """The largest checkpoint known."""
        return max(self.kept, key=lambda each: each.size, default=None)

    @property
    def beyond(self) -> Unrelated | None:
        """What another key of this log's name is said to have signed, over more events than any key known here."""
        least = max(self.stored.size, 0 if self.newest is None else self.newest.size)
        said = [each for each in self.unrelated if each.size is not None and each.size > least]
        return max(said, key=lambda each: each.size or 0, default=None)

    @property
    def guarded(self) -> Kept | None:
        return next((each for each in self.kept if each.where == GUARD), None)

    @property
    def guard_fits(self) -> bool:
        """The guard is whole, and nothing larger was signed."""
        return self.guarded is not None and self.newest is not None and self.guarded.size >= self.newest.size


GUARD = "the fork guard"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, what is wrong (nothing: all is well), and the commands that there are, the best first."""

    found: tuple[str, ...]
    problems: tuple[str, ...]
    commands: tuple[str, ...]


def diagnose(found: Found) -> Diagnosis:
    """What is so, what is wrong with it, what can be done."""
    problems, commands = _verdict(found)
    problems += found.other_keys
    if found.other_keys and not commands:
        commands.append("put the keys of this log in place, then promise-ledger recover")
    if found.lost:
        problems.append(
            f"{found.lost} commands have a receipt for events that are not here: their senders are to be asked again"
        )
        if not commands:
            commands.append("promise-ledger recover lost")
    return Diagnosis(tuple(_facts(found)), tuple(problems), tuple(commands))


def _facts(found: Found) -> list[str]:
    stored = found.stored
    facts = [
        f"the database holds {stored.size} events of the log {stored.origin}"
        if stored.origin is not None
        else f"the head of the log is gone from the database, which holds {stored.size} events"
    ]
    facts += [f"{each.where} covers {each.size} events" for each in found.kept]
    facts += [f"{each.where} holds no checkpoint of this log and key: {each.why}" for each in found.unrelated]
    if found.guard != "there":
        facts.append({"missing": "there is no fork guard", "damaged": "the fork guard is damaged"}.get(found.guard, ""))
    facts += [f"not looked at: {each}" for each in found.not_looked_at]
    facts += [each.sentence for each in stored.recoveries]
    return [fact for fact in facts if fact]


def later_key(beyond: Unrelated) -> str:
    """What a checkpoint means that a key unknown here signed over more events than are known here."""
    return (
        f"{beyond.where} covers {beyond.size} events and is signed by another key of this log's name, which neither "
        "the keys nor the events here know: the log's key was rotated after this copy of it was made, or somebody made "
        "that up"
    )


def ended(found: Found) -> str:
    """What it means that keys and guard are of a log that the database says has ended."""
    return (
        f"the database says that the log {found.ended} has ended and goes on as {found.stored.origin}; keys/log and "
        "the fork guard here are from before that"
    )


def _verdict(found: Found) -> tuple[list[str], list[str]]:
    stored, newest = found.stored, found.newest
    if found.unfinished is not None:
        return (
            [f"the recovery of this log as {found.unfinished} began, and is not finished"],
            [_anew(found.unfinished)],
        )
    if found.ended is not None:
        return [ended(found)], [
            "put the newer keys/log and its fork guard in place, then promise-ledger recover",
            _anew("NAME"),
        ]
    if found.replaced is not None:
        return [found.replaced], [
            "promise-ledger keys rotate-log",
            "put the newer keys/log in place, then promise-ledger recover",
        ]
    if (beyond := found.beyond) is not None:
        return [later_key(beyond)], ["put the newer keys/log and its fork guard in place, then promise-ledger recover"]
    if contradicted := [each for each in stored.contradicted if each.own]:
        return [
            f"the events are not those that {contradicted[0].where} was signed for: they were rewritten; "
            "`promise-ledger verify` names the place"
        ], ["restore the newest backup of the database, then promise-ledger recover"]
    if stored.contradicted:
        each = stored.contradicted[0]
        return [
            f"{each.where} was signed over {each.size} other events than the first {each.size} here: two services have "
            f"signed with one key, each for a database of its own, and no command can make one log of them. {_STOP}"
        ], [_anew("NAME")]
    if newest is not None and newest.size > stored.size:
        return _behind(found, newest)
    if stored.head_size is None or stored.head_size != stored.size:
        return [f"the head of the log says {stored.head_size or 'nothing'} and {stored.size} events are there"], [
            "restore the newest backup of the database, then promise-ledger recover"
        ]
    if not stored.authentic and stored.size and (newest is None or newest.size < stored.size):
        return [
            "nobody signed the last events that are stored, and no service of this log wrote its head: they were "
            "appended by hand"
        ], ["restore the newest backup of the database, then promise-ledger recover"]
    if found.guard == "foreign":
        return ["the fork guard is not of this log and key: put its own one back, or move this one away"], [_GUARD]
    if not found.guard_fits and (newest is not None or stored.size):
        what = {"missing": "missing", "damaged": "damaged"}.get(found.guard, "older than what was signed")
        return [f"the fork guard is {what}, and the database is whole"], [_GUARD]
    return [], []


def _anew(origin: str) -> str:
    return f"promise-ledger recover anew --origin {origin} {_GROUNDS}"


def _behind(found: Found, newest: Kept) -> tuple[list[str], list[str]]:
    stored = found.stored
    missing = newest.size - stored.size
    vouched = stored.authentic or any(each.size == stored.size for each in found.kept) or stored.size == 0
    return [
        f"{newest.where} covers {newest.size} events and the database holds {stored.size}: it is an older copy, or its "
        f"tail was cut off. Missing are {missing} events, from leaf {stored.size} on"
    ], [
        "restore a newer backup of the database, where there is one, then promise-ledger recover",
        f"promise-ledger recover entries {_GROUNDS} [SITE …]",
        f"{_anew('NAME')} {'[SITE …]' if vouched else 'SITE …'}",
    ]
