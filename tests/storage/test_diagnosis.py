"""What `promise-ledger recover` says of each thing that may be wrong: one verdict, and the commands that fit it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ledger.domain.recoveries import LogRecovered
from ledger.recovery.diagnosis import GUARD, Found, diagnose
from ledger.recovery.evidence import Kept, Stored, Unrelated
from ledger.recovery.records import Record
from ledger.tlog.merkle import Frontier

WHOLE = Stored(
    size=8, frontier=Frontier(), authentic=True, origin="x.example", head_size=8, recoveries=(), contradicted=()
)


def kept(size: int, where: str = GUARD, *, own: bool = True) -> Kept:
    return Kept(size, b"", b"", where, own)


WELL = Found(WHOLE, "there", [kept(8)])
RESTORE = "restore the newest backup of the database, then promise-ledger recover"
GUARD_ANEW = 'promise-ledger recover guard --grounds "WHY"'
NEWER = "restore a newer backup of the database, where there is one, then promise-ledger recover"
ENTRIES = 'promise-ledger recover entries --grounds "WHY"'
ANEW = 'promise-ledger recover anew --origin NAME --grounds "WHY"'
CASES: dict[str, tuple[Found, str, list[str]]] = {
    "rewritten": (
        replace(WELL, stored=replace(WHOLE, contradicted=[kept(5, "a copy", own=False), kept(7)])),
        "the events are not those that the fork guard was signed for: they were rewritten; ",
        [RESTORE],
    ),
    "two services": (
        replace(WELL, stored=replace(WHOLE, contradicted=[kept(5, "a copy", own=False)])),
        "a copy was signed over 5 other events than the first 5 here: two services have signed with one key, ",
        [ANEW],
    ),
    "behind": (
        replace(WELL, kept=[kept(8), kept(11, "a copy", own=False)]),
        "a copy covers 11 events and the database holds 8: it is an older copy, or its tail was cut off. Missing are",
        [NEWER, f"{ENTRIES} [SITE …]", f"{ANEW} [SITE …]"],
    ),
    "behind, and nobody signed where it ends": (
        replace(WELL, stored=replace(WHOLE, authentic=False), kept=[kept(7, "a copy", own=False), kept(11)]),
        "the fork guard covers 11 events and the database holds 8",
        [NEWER, f"{ENTRIES} [SITE …]", f"{ANEW} SITE …"],
    ),
    "behind, and empty": (
        replace(WELL, stored=replace(WHOLE, size=0, head_size=None, origin=None, authentic=False), kept=[kept(11)]),
        "the fork guard covers 11 events and the database holds 0",
        [NEWER, f"{ENTRIES} [SITE …]", f"{ANEW} [SITE …]"],
    ),
    "signed by a later key": (
        replace(WELL, unrelated=[Unrelated("a copy", "another key", 11)]),
        "a copy covers 11 events and is signed by another key of this log's name, which neither the keys nor the ",
        ["put the newer keys/log and its fork guard in place, then promise-ledger recover"],
    ),
    "keys from before it went on anew": (
        replace(WELL, kept=[kept(4)], ended="w.example"),
        "the database says that the log w.example has ended and goes on as x.example; keys/log and the fork guard here",
        ["put the newer keys/log and its fork guard in place, then promise-ledger recover", ANEW],
    ),
    "the key before": (
        replace(WELL, replaced="the log's key was rotated at leaf 4: …"),
        "the log's key was rotated at leaf 4",
        ["promise-ledger keys rotate-log", "put the newer keys/log in place, then promise-ledger recover"],
    ),
    "no head": (
        replace(WELL, stored=replace(WHOLE, head_size=None, origin=None)),
        "the head of the log says nothing and 8 events are there",
        [RESTORE],
    ),
    "another head": (
        replace(WELL, stored=replace(WHOLE, head_size=9)),
        "the head of the log says 9 and 8 events are there",
        [RESTORE],
    ),
    "appended by hand": (
        replace(WELL, stored=replace(WHOLE, authentic=False), kept=[kept(7)]),
        "nobody signed the last events that are stored, and no service of this log wrote its head: they were appended",
        [RESTORE],
    ),
    "a foreign guard": (
        replace(WELL, guard="foreign", kept=[kept(8, "a copy", own=False)]),
        "the fork guard is not of this log and key: put its own one back, or move this one away",
        [GUARD_ANEW],
    ),
    "no guard": (replace(WELL, guard="missing", kept=[]), "the fork guard is missing, and the database", [GUARD_ANEW]),
    "a damaged guard": (
        replace(WELL, guard="damaged", kept=[]),
        "the fork guard is damaged, and the database is whole",
        [GUARD_ANEW],
    ),
    "an old guard": (
        replace(WELL, kept=[kept(5), kept(8, "a copy", own=False)]),
        "the fork guard is older than what was signed, and the database is whole",
        [GUARD_ANEW],
    ),
    "begun anew": (
        replace(WELL, unfinished="y.example"),
        "the recovery of this log as y.example began, and is not finished",
        ['promise-ledger recover anew --origin y.example --grounds "WHY"'],
    ),
    "another kek": (
        replace(WELL, other_keys=["the data key of customer C-1 does not open: …"]),
        "the data key of customer C-1 does not open",
        ["put the keys of this log in place, then promise-ledger recover"],
    ),
    "lost commands": (
        replace(WELL, lost=2),
        "2 commands have a receipt for events that are not here: their senders are to be asked again",
        ["promise-ledger recover lost"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_thing_that_may_be_wrong_has_its_sentence_and_its_commands(case: str) -> None:
    found, sentence, commands = CASES[case]
    said = diagnose(found)
    (problem,) = said.problems
    assert problem.startswith(sentence)
    assert list(said.commands) == commands


def test_what_is_well_is_not_wrong_and_who_lost_more_than_commands_does_that_first() -> None:
    assert (diagnose(WELL).problems, diagnose(WELL).commands) == ((), ())
    appended_and_signed = replace(WELL, stored=replace(WHOLE, authentic=False))
    assert diagnose(appended_and_signed).problems == ()
    behind = diagnose(replace(CASES["behind"][0], lost=2))
    assert (len(behind.problems), list(behind.commands)) == (2, CASES["behind"][2])


def test_the_facts_name_everything_that_was_looked_at() -> None:
    event = LogRecovered(
        kind="guard", grounds="T-1", kept_size=6, restored=0, texts_lost=0, signed_size=6, signed_root="AA=="
    )
    stored = replace(WHOLE, origin=None, recoveries=[Record(6, datetime(2026, 3, 1, tzinfo=UTC), event)])
    unrelated = [Unrelated("b.note", "it is signed by somebody else")]
    found = Found(stored, "damaged", [kept(5, "a copy")], unrelated, not_looked_at=["the queue"])
    assert diagnose(found).found == (
        "the head of the log is gone from the database, which holds 8 events",
        "a copy covers 5 events",
        "b.note holds no checkpoint of this log and key: it is signed by somebody else",
        "the fork guard is damaged",
        "not looked at: the queue",
        "the fork guard was written again on 2026-03-01 (leaf 6; T-1)",
    )
