"""A page of a thing has what an auditor asks about it, and its links lead on."""

from urllib.parse import quote

import pytest

from projections.web.console.asked import ROWS
from projections.web.console.pages import OF_ONE_CUSTOMER
from tests.projections.console.conftest import Browser, browsing
from tests.projections.console.test_pages import links
from tests.projections.troubles import detect, disclosure, tell
from tests.projections.world import World, at


def test_a_withholding_is_linked_as_one_and_not_as_the_disclosure_of_the_same_id(world: World) -> None:
    detect(world, "X-1", 0, "C-1")
    withheld = {"problem_id": "X-1", "customer_id": "C-1", "why": "The police asked.", "review_at": at(48)}
    tell(world, "disclosure.withhold", 1, disclosure_id="D-1", approver="u-2", **withheld)
    world.catch_up()
    with browsing(world) as browser:
        assert "stream/withholding:D-1" in links(browser.page("stream/problem:X-1"))
        for path in ("stream/problem:X-1", "stream/withholding:D-1", "event/1", "event/2"):
            assert "stream/disclosure:D-1" not in links(browser.page(path)), path
        assert "approver u-2" in browser.said("stream/withholding:D-1")


def test_a_finding_that_is_closed_since_stays_on_the_pages_of_what_it_was_about(world: World) -> None:
    world.make(1, due_at=10)
    world.make(2, due_at=40)
    world.now = at(30)
    tell(world, "promise.claim_kept", 20, promise_id="P-1", text="Done.")
    tell(world, "promise.claim_kept", 21, promise_id="P-2", text="Done.")  # its finding of being overdue: prevented
    world.catch_up()
    row = "overdue medium {} 2026-03-01 22:00 UTC 2026-03-02 08:00 UTC 0 2"
    with browsing(world) as browser:
        for path, about in (("stream/promise:P-1", "C-1"), ("stream/customer:C-1", "promise:P-1")):
            closed = browser.said(path).partition("Findings that were open and are closed")[2]
            assert row.format(about) in closed, path
            for then in (f"as_of={quote(at(15).isoformat())}", f"known_at={quote(at(29).isoformat())}"):
                assert "are closed None." in browser.said(f"{path}?{then}"), then
        assert "overdue" not in browser.said("stream/promise:P-2").partition("are closed")[2]


def test_a_promise_that_ended_is_on_the_page_of_its_customer_with_how(world: World) -> None:
    world.make(1, due_at=10, kind="answer")
    world.now = at(30)
    tell(world, "promise.claim_kept", 20, promise_id="P-1")
    tell(world, "promise.verify", 21, promise_id="P-1", verified_by="C-1")
    world.catch_up()
    with browsing(world) as browser:
        ended = browser.said("stream/customer:C-1").partition("Promises that ended")[2]
        assert "P-1 2026-03-01 22:00 UTC 2026-03-01 22:00 UTC late kept" in ended
        assert "P-1" in browser.said("list/promises?ended_as=kept&timeliness=late")
        assert "ended None." in browser.said(f"stream/customer:C-1?as_of={quote(at(15).isoformat())}")


def test_what_was_said_of_a_promise_is_on_its_page(world: World) -> None:
    world.make(1)
    said = {"text": "It comes later.", "owner": "u-1", "apology": True, "channel": "phone", "basis": "known"}
    tell(world, "disclosure.make", 1, disclosure_id="D-1", customer_id="C-1", about={"promise_id": "P-1"}, **said)
    world.catch_up()
    with browsing(world) as browser:
        assert "What was said of it" in browser.said("stream/promise:P-1")
        assert "D-1 C-1 It comes later." in browser.said("stream/promise:P-1")


def test_whom_a_problem_touches_knows_of_it_or_not_on_their_page(world: World) -> None:
    detect(world, "X-1", 0, "C-1", "C-2")
    world.catch_up()
    with browsing(world) as browser:
        touched = browser.said("stream/customer:C-2").partition("Problems that touch them")[2]
        assert "X-1 2026-03-01 12:00 UTC undisclosed" in touched


@pytest.mark.parametrize("kind", OF_ONE_CUSTOMER)
def test_what_is_found_about_a_thing_of_one_customer_touches_that_customer(everything: World, kind: str) -> None:
    others = everything.ask(
        f"SELECT f.code, f.subject FROM audit.finding_history AS f JOIN audit.{kind}s AS t "
        f"ON f.subject = '{kind}:' || t.{kind}_id WHERE f.customer_id IS DISTINCT FROM t.customer_id"
    )
    assert others == []


def test_what_happened_to_a_thing_of_several_customers_says_with_whom(world: World) -> None:
    detect(world, "X-1", 0, "C-1", "C-2")
    for customer_id in ("C-1", "C-2"):
        tell(world, "disclosure.make", 1, **disclosure("X-1", customer_id, f"D-{customer_id}"))
    tell(world, "problem.resolve", 2, problem_id="X-1", root_cause_addressed=True, text="It is tight.")
    tell(world, "problem.verify", 3, problem_id="X-1", customer_id="C-2", works=True)
    world.make(1)
    world.catch_up()
    with browsing(world) as browser:
        assert "problem.resolution_verified C-2 u-1" in browser.said("stream/problem:X-1")
        assert "promise.made u-1" in browser.said("stream/promise:P-1")


def test_the_scorecard_that_a_page_of_then_links_to_is_one_of_then(world: World) -> None:
    world.make(1, due_at=10)
    tell(world, "promise.claim_kept", 5, promise_id="P-1")
    tell(world, "promise.verify", 6, promise_id="P-1", verified_by="C-1")
    world.catch_up()
    with browsing(world) as browser:
        then, to = f"as_of={quote(at(3).isoformat())}", quote(at(3).isoformat())
        (card,) = (each for each in links(browser.page(f"list/outstanding?{then}")) if each.startswith("scorecard"))
        shown, wanted, now = (
            browser.page(path).partition("<table")[2] for path in (card, f"scorecard?to={to}", "scorecard")
        )
        assert shown == wanted != now
        assert 'name="to" value="2026-03-01T15:00:00Z"' in browser.page(card)


def test_money_says_in_which_unit_it_is(world: World) -> None:
    granted = {"amount": 12000, "authority_limit": 20000, "currency": "EUR"}
    tell(world, "goodwill.grant", 1, goodwill_id="G-1", customer_id="C-1", **granted)
    world.catch_up()
    with browsing(world) as browser:
        for path in ("stream/goodwill:G-1", "event/0"):
            assert "amount in the smallest unit (cents) 12000" in browser.said(path)


def test_a_page_says_how_its_evidence_is_taken_away(browser: Browser) -> None:
    assert "promise-ledger export FOLDER --promise P-1" in browser.said("stream/promise:P-1")
    assert "promise-ledger export FOLDER --customer C-1" in browser.said("stream/customer:C-1")


def test_what_is_no_id_is_offered_as_an_owner_or_a_case(browser: Browser) -> None:
    (case_id,) = browser.world.ask("SELECT min(case_id) AS case_id FROM audit.promises")[0].values()
    offered = links(browser.page("search?q=u-1")) | links(browser.page(f"search?q={case_id}"))
    assert {"list/promises?owner=u-1", "list/disclosures?made_by=u-1", f"list/findings?case_id={case_id}"} <= offered


def test_whom_a_problem_touches_is_linked_and_to_have_been_told_is_not_praised(world: World) -> None:
    detect(world, "X-1", 0, "C-1", "C-2")
    tell(world, "disclosure.make", 1, **disclosure("X-1", "C-2", "D-1"))
    tell(world, "disclosure.falsify", 2, disclosure_id="D-1", known_since=at(2), why="It does not leak.")
    world.catch_up()
    with browsing(world) as browser:
        assert {"stream/customer:C-1", "stream/customer:C-2"} <= links(browser.page("event/0"))
        assert "stream/customer:2" not in links(browser.page("list/problems"))
        assert "told" in browser.said("stream/problem:X-1")
        assert 'class="good"' not in browser.page("stream/problem:X-1")


def test_follow_ups_past_due_stand_out_on_the_first_page(world: World) -> None:
    world.make(1)
    owed = {"customer_id": "C-1", "about": {"promise_id": "P-1"}, "due_at": at(2), "owner": "u-1"}
    tell(world, "followup.schedule", 1, followup_id="F-1", **owed)
    world.catch_up()
    with browsing(world) as browser:
        figures = browser.page("").partition(">Follow-ups due</a>: 1")[2].partition("</section>")[0]
        assert '<span class="bad">overdue</span>' in figures


def test_what_occurred_early_and_was_recorded_late_is_found_behind_a_page_of_what_came_after(world: World) -> None:
    again = [world.submission("promise.read_back", at(50), promise_id="P-none", confirmed=True) for _ in range(ROWS)]
    world.ledger.submit([*again, world.submission("promise.read_back", at(1), promise_id="P-early", confirmed=True)])
    world.catch_up()
    with browsing(world) as browser:
        then = f"as_of={quote(at(2).isoformat())}"
        first = browser.page(f"stream/source:crm?{then}")
        assert "None on this page had happened" in first
        (behind,) = (each for each in links(first) if "page=2" in each)
        assert "P-early" in browser.said(behind)
        browser.page(f"stream/source:crm?as_of={quote(at(0).isoformat())}&page=2")
