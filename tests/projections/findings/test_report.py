"""The projection on PostgreSQL: rebuilt equals live at any moment, and it answers as of both clocks."""

import random
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from psycopg.rows import tuple_row

from ledger.app import Submission
from ledger.storage.entries import StoredEntry, decode
from projections import applying
from projections.checking import check
from projections.findings import facts as facts_module
from projections.findings import fold
from projections.findings.facts import Facts
from projections.findings.records import Customer
from projections.findings.report import FINDINGS_REPORT, SQL
from projections.runner import Runner, rebuild
from projections.versions import use
from tests.projections.findings.story import Shelf
from tests.projections.world import NOON, World, at, story

Shown = set[tuple[Any, ...]]
OPEN = "SELECT code, subject, customer_id, opened_at, closed_at, opened_by, closed_by, leaf_index FROM "


def any_story(world: World, seed: int, commands: int) -> list[Submission]:
    """A story of promises, and beside it one of problems, disclosures, concerns, outages and policies."""
    chance = random.Random(seed)
    promises = story(world, seed, commands // 2)
    others = [*_openings(world), *(_other(world, chance, number) for number in range(commands // 2))]
    mixed = promises[:16] + others[:6]
    rest = [promises[16:], others[6:]]
    while any(rest):
        mixed.append(chance.choice([each for each in rest if each]).pop(0))
    return mixed


def _openings(world: World) -> list[Submission]:
    detected = {"known_since": at(-30), "detected_by": "us", "summary": "It stands.", "owner": "u-1"}
    return [
        world.submission("problem.detect", at(-20), problem_id="X-0", severity=1, affected=["C-0", "C-1"], **detected),
        world.submission("problem.detect", at(-10), problem_id="X-1", severity=3, affected=["C-1"], **detected),
        world.submission("concern.raise", at(-9), concern_id="Q-0", customer_id="C-0", text="Why?", problem_id="X-0"),
        world.submission("concern.raise", at(-8), concern_id="Q-1", customer_id="C-1", text="When?"),
        world.submission("outage.declare", at(-7), outage_id="O-0", tool="crm"),
        world.submission("contact.record", at(-6), contact_id="K-0", customer_id="C-0", channel="phone", outcome="ok"),
    ]


def _other(world: World, chance: random.Random, number: int) -> Submission:
    occurred_at = at(number / 3 + chance.uniform(-20, 4))
    later = occurred_at + timedelta(hours=chance.uniform(1, 60))
    which = chance.randrange(2)
    customer, problem = {"customer_id": f"C-{which}"}, {"problem_id": f"X-{which}"}
    known = [f"T-{chance.randrange(max(number, 1))}" for _ in range(chance.randrange(3))] if number > 5 else []
    about = chance.choice([problem, {"concern_id": f"Q-{which}"}, {"promise_id": f"P-{which}"}])
    telling: dict[str, Any] = {
        **customer,
        "disclosure_id": f"T-{number}",
        "text": "So it is.",
        "owner": "u-1",
        "apology": chance.random() < 0.3,
        "channel": chance.choice(["email", "phone"]),
        "basis": chance.choice(["known", "assumed"]),
        "reason_class": chance.choice([None, "transport", "outage"]),
        "based_on": known,
    }
    if chance.random() < 0.4:
        telling["next_update_at"] = later
    told = {"disclosure_id": f"T-{chance.randrange(max(number, 1))}"}
    note = {"outage_id": "O-0", "capture_id": f"N-{chance.randrange(3)}"}
    cause = {"cause_class": chance.choice(["transport", "stock"]), "control": "within", "basis": "assumed"}
    choices: list[tuple[str, dict[str, Any]]] = [
        *[("disclosure.make", {**telling, "about": about})] * 6,
        ("disclosure.correct", {**telling, "corrects": told["disclosure_id"]}),
        ("disclosure.falsify", {**told, "known_since": occurred_at - timedelta(hours=3), "why": "It was not so."}),
        (
            "disclosure.withhold",
            {
                **customer,
                **problem,
                "disclosure_id": f"W-{number}",
                "why": "Not yet.",
                "approver": "u-2",
                "review_at": later,
            },
        ),
        ("problem.record_cause", {**problem, **cause}),
        ("problem.resolve", {**problem, "root_cause_addressed": chance.random() < 0.5}),
        ("problem.verify", {**problem, **customer, "works": chance.random() < 0.5}),
        ("problem.affect", {**problem, "affected": [f"C-{chance.randrange(4)}"]}),
        ("problem.reported", {**problem, **customer, "text": "It stands still."}),
        ("concern.acknowledge", {"concern_id": f"Q-{which}", "restated": "You ask why."}),
        ("concern.address", {"concern_id": f"Q-{which}", "how": "So.", "by": "u-1"}),
        ("outage.end", {"outage_id": "O-0"}),
        (
            "note.take",
            {
                **note,
                **customer,
                "captured_at": occurred_at,
                "text": "They called.",
                "read_back": chance.random() < 0.5,
            },
        ),
        ("note.clear", {**note, "by": ["P-1"]}),
        ("note.followed_up", note),
        ("apology.make", {**customer, "apology_id": f"A-{number}", "for": about}),
        ("offering.publish", {"offering_id": "G-0", "lead_time": "P9D", "valid_from": at(-99)}),
        ("contact.record", {**customer, "contact_id": f"K-{number}", "channel": "phone", "outcome": "ok"}),
        ("customer.lost", {**customer, "attributed_to": "price"}),
    ]
    kind, data = chance.choice(choices)
    return world.submission(kind, occurred_at, **{name: value for name, value in data.items() if value is not None})


def log(world: World) -> list[StoredEntry]:
    rows = world.ask("SELECT notification_id - 1 AS leaf, topic, state FROM ledger.events ORDER BY 1")
    return [decode(row["leaf"], row["topic"], row["state"]) for row in rows]


def shown(world: World, source: str, *parameters: Any) -> Shown:
    return {tuple(row.values()) for row in world.ask(OPEN + source, *parameters)}


def test_rebuilt_equals_live_at_any_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "LIVE_BATCH", 13)
    commands = any_story(world, 1, 300)
    for start in range(0, len(commands), 75):
        world.now = NOON + timedelta(hours=start)
        world.ledger.submit(commands[start : start + 75])
        if start == 150:
            assert world.tell("subject.erase", world.now, customer_id="C-1", grounds="art-17-1-a") == "recorded"
        Runner(world.url, world.secrets, [FINDINGS_REPORT]).catch_up(start + 31)
        world.catch_up([FINDINGS_REPORT])
        live = world.rows("findings")
        assert all(live.values())
        monkeypatch.setattr(applying, "LIVE_BATCH", 7 + start)
        rebuild(world.url, world.secrets, "findings")
        assert world.rows("findings") == live
    assert len({row[2] for row in live["findings"]}) > 20  # codes
    ended = "SELECT DISTINCT code FROM audit.finding_history JOIN ledger.events ON notification_id = closed_by + 1 "
    assert len(world.ask(ended + "WHERE topic = 'subject.erasure_requested'")) > 1
    assert check(world.url, world.secrets, definitions=[FINDINGS_REPORT]) is None


def test_a_memory_of_three_records_gives_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ledger.submit(any_story(world, 2, 200))
    world.catch_up([FINDINGS_REPORT])
    live = world.rows("findings")
    monkeypatch.setattr(applying, "LIVE_BATCH", 1)
    monkeypatch.setattr(facts_module, "REMEMBERED", 3)
    rebuild(world.url, world.secrets, "findings")
    assert world.rows("findings") == live


def test_as_of_both_clocks_equals_a_fold_of_what_was_known(world: World) -> None:
    for number, command in enumerate(any_story(world, 3, 240)):
        world.now = NOON + timedelta(minutes=20 * number)
        world.ledger.submit([command])
    world.catch_up([FINDINGS_REPORT])
    entries, chance, compared = log(world), random.Random(3), 0
    moments = [at(chance.uniform(-10, 90)) for _ in range(9)]
    for as_of, known_at in product([*moments, at(400)], [*moments, at(999)]):
        known = Facts(Shelf())
        for entry in entries:
            if entry.happened.recorded_at <= known_at:
                fold.apply(known, entry)
        expected = {
            (each.code, each.subject, each.customer_id, each.opened_at)
            for each in known.opened.values()
            if each.opened_at <= as_of and (each.closed_at is None or as_of < each.closed_at)
        }
        found = {row[:4] for row in shown(world, "audit.findings_as_of(%s, %s)", as_of, known_at)}
        tailed = {row for row in found if row[0] in ("silent-customer", "neglected-customer")}
        assert found - tailed == {row for row in expected if not row[1].startswith("customer:")}
        if as_of <= known_at:
            assert tailed == _tails(known, as_of) | {row for row in expected if row[1].startswith("customer:")}
        compared += len(found)
    assert compared > 1000


def _tails(known: Facts, moment: datetime) -> Shown:
    found: Shown = set()
    for number in range(4):
        customer = known.recall(f"customer:C-{number}", Customer)
        if customer is None:
            continue
        for code, opens in ("silent-customer", customer.silent_from), ("neglected-customer", customer.neglected_from):
            if opens is not None and opens <= moment:
                found.add((code, f"customer:C-{number}", f"C-{number}", opens))
    return found


def test_what_is_open_now_needs_no_timer(world: World) -> None:
    world.make(1, occurred_at=0, due_at=24)
    world.catch_up([FINDINGS_REPORT])
    assert ("overdue", "promise:P-1") in {row[:2] for row in shown(world, "audit.findings")}
    assert shown(world, "audit.findings_as_of(%s)", at(23)) == set()
    assert {row[0] for row in shown(world, "audit.findings_as_of(%s)", at(24))} == {"overdue", "no-warning"}
    world.now = at(30)
    assert world.tell("promise.claim_kept", 20, promise_id="P-1") == "recorded"
    world.catch_up([FINDINGS_REPORT])
    assert {row[0] for row in shown(world, "audit.findings_as_of(%s)", at(24))} == {"claimed-not-verified"}
    assert {row[0] for row in shown(world, "audit.findings_as_of(%s, %s)", at(24), at(29))} == {"overdue", "no-warning"}
    assert {row[0] for row in shown(world, "audit.findings_as_of(known_at => %s)", at(29))} == {"overdue", "no-warning"}
    (prevented,) = world.ask("SELECT * FROM audit.finding_history WHERE code = 'overdue'")
    assert prevented["prevented"]
    assert (prevented["opened_by"], prevented["closed_by"], prevented["leaf_index"]) == (0, 1, 1)


def test_a_chain_of_three_is_contaminated_to_its_end(world: World) -> None:
    for number in range(4):
        telling = {
            "disclosure_id": f"D-{number}",
            "customer_id": f"C-{number}",
            "about": {"problem_id": "X-1"},
            "text": "So it is.",
            "owner": "u-1",
            "apology": False,
            "channel": "phone",
            "basis": "known",
            "based_on": [f"D-{number - 1}"] if number else [],
        }
        if number == 0:
            problem = {"problem_id": "X-1", "known_since": at(0), "detected_by": "us", "summary": "It stands."}
            assert world.tell("problem.detect", 0, **problem, severity=3, owner="u-1", affected=["C-0"]) == "recorded"
        assert world.tell("disclosure.make", 1 + number, **telling) == "recorded"
    world.catch_up([FINDINGS_REPORT])
    assert world.tell("disclosure.falsify", 9, disclosure_id="D-0", known_since=at(8), why="No.") == "recorded"
    world.catch_up([FINDINGS_REPORT])
    found = world.ask("SELECT subject, customer_id, opened_at FROM audit.findings WHERE code = 'rests-on-falsehood'")
    assert sorted(tuple(row.values()) for row in found) == [
        (f"disclosure:D-{number}", f"C-{number}", at(8)) for number in (1, 2, 3)
    ]


def test_a_silence_that_could_be_seen_stays_known_though_a_word_came_in_time(world: World) -> None:
    world.make(1, occurred_at=0, due_at=900)
    world.now = at(170)  # two hours after the silence opened
    contact = {"contact_id": "K-1", "customer_id": "C-1", "channel": "phone", "outcome": "ok"}
    assert world.tell("contact.record", 160, **contact) == "recorded"
    world.catch_up([FINDINGS_REPORT])
    assert {row[0] for row in shown(world, "audit.findings_as_of(%s, %s)", at(169), at(169))} == {"silent-customer"}
    assert shown(world, "audit.findings_as_of(%s)", at(169)) == set()
    assert {row[0] for row in shown(world, "audit.findings_as_of(%s)", at(328))} == {"silent-customer"}


def test_each_row_names_its_case_and_no_text(world: World) -> None:
    world.make(1, case_id="case-1", text="A secret word.", basis="assumed")
    world.now = at(50)
    assert world.tell("promise.claim_kept", 40, promise_id="P-1", text="A secret word.", case_id="case-2") == "recorded"
    world.catch_up([FINDINGS_REPORT])
    rows = world.ask("SELECT * FROM audit.finding_history WHERE subject = 'promise:P-1'")
    assert {row["case_id"] for row in rows} == {"case-1"}
    assert "secret" not in str(world.rows("findings"))
    (late,) = [row for row in rows if row["code"] == "kept-late"]
    assert late["detail"] == {
        "late_against": "due_at",
        "due_at": "2026-03-02T12:00:00Z",
        "original_due_at": "2026-03-02T12:00:00Z",
    }


def test_what_rests_on_a_falsehood_is_found_quickly_in_a_star_and_a_long_chain(world: World) -> None:
    """With statistics, by which the planner once joined all links at every step of the chain: that took minutes."""
    with world.connection.transaction(), world.connection.cursor(row_factory=tuple_row) as cursor:
        use(cursor, FINDINGS_REPORT.name, 1)
        cursor.execute(
            "INSERT INTO links SELECT 'rests', 'disclosure:' || CASE WHEN n <= 1000 THEN 0 ELSE n - 1 END,"
            " 'disclosure:' || n, n FROM generate_series(1, 60000) AS n"
        )
        cursor.execute(
            "INSERT INTO links SELECT 'affects', 'problem:' || n, 'C-' || n, n FROM generate_series(1, 60000) AS n"
        )
        cursor.execute("ANALYZE links")
        cursor.execute("SET LOCAL statement_timeout = '20s'")
        found = cursor.execute(SQL["downstream"], {"kind": "rests", "source": "disclosure:0"}).fetchall()
    assert len(found) == 60_000
