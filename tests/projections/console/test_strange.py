"""Ids that look like something else, rows that open to nothing: each spoils what it is about, and no other page."""

import re
from urllib.parse import quote, urljoin

import pytest

from projections import queries
from projections.queries import Part
from projections.runner import install
from projections.web.console.asked import ROWS
from projections.web.console.lists import LISTS
from tests.projections.console.conftest import Browser, browsing
from tests.projections.console.test_pages import links
from tests.projections.troubles import detect, disclosure
from tests.projections.world import World, at


@pytest.mark.parametrize("owner", ["2026-99-99T99:99:99Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:60Z"])
def test_an_id_that_looks_like_a_moment_and_is_none_is_shown_as_it_is(world: World, owner: str) -> None:
    world.make(1)
    world.make(2, owner=owner)
    world.catch_up()
    with browsing(world) as browser:
        html = browser.page("list/outstanding")
        assert re.findall(r"<tr><td><a [^>]*>(P-\d)</a>", html) == ["P-1", "P-2"]
        for path in ("list/outstanding", "stream/promise:P-2", "stream/customer:C-1", "event/1", "scorecard?by=owner"):
            assert owner in browser.said(path), path


def test_a_sealed_text_that_does_not_open_is_said_and_spoils_no_other_page(world: World) -> None:
    world.make(1)
    world.make(2)
    world.catch_up()
    world.tamper("UPDATE ledger.sealed SET ciphertext = ciphertext || 'x'::bytea WHERE leaf_index = 0")
    with browsing(world) as browser:
        for path in ("stream/promise:P-1", "event/0"):
            said = browser.said(path, 500)
            assert "does not open under its key: run `promise-ledger verify`" in said
        browser.page("event/1")
        browser.page("stream/promise:P-2")


def test_rows_that_are_alike_in_all_that_orders_them_are_each_on_one_page(world: World) -> None:
    """Notes of one outage, customer and moment: findings of the same code, subject and moment."""
    assert world.tell("outage.declare", 1, outage_id="O-1", tool="crm") == "recorded"
    taken = {"outage_id": "O-1", "captured_at": at(1), "customer_id": "C-1", "read_back": False, "text": "Call me."}
    world.ledger.submit([world.submission("note.take", at(1), capture_id=f"N-{n}", **taken) for n in range(450)])
    world.catch_up()
    opened = {row["opened_by"] for row in world.ask("SELECT opened_by FROM audit.findings")}
    assert len(opened) >= 450
    with browsing(world) as browser:
        pages = [browser.page(f"list/findings?code=note-not-read-back&page={page}") for page in range(1, 6)]
    shown = [int(leaf) for page in pages for leaf in re.findall(r'href="/console/event/(\d+)"', page)]
    assert sorted(shown) == sorted(opened)


def test_closed_findings_that_are_alike_but_for_the_customer_have_an_order(world: World) -> None:
    customers = [f"C-{number:03}" for number in range(150)]
    detect(world, "B-1", 1, *reversed(customers))
    world.now = at(200)
    told = [disclosure("B-1", customer_id, f"D-{customer_id}") for customer_id in customers[::-1]]
    world.ledger.submit([world.submission("disclosure.make", at(100), **each) for each in told])
    world.catch_up()
    found = queries.closed_findings(world.connection, {"code": "undisclosed-problem"}, part=Part(ROWS + 1))
    assert [row["customer_id"] for row in found] == customers[: ROWS + 1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "digest = 'older'",
            "Answered as before an update of the program: the tables of findings were made by another",
        ),
        ("stopped_at = 0, reason = 'odd'", "Projection findings stopped at leaf 0: what was recorded since is not in"),
    ],
)
def test_every_page_from_the_read_tables_says_where_these_were_left_behind(
    world: World, change: str, sentence: str
) -> None:
    world.make(1)
    told = {"disclosure_id": "D-1", "customer_id": "C-1", "about": {"promise_id": "P-1"}, "text": "So it is."}
    manner = {"owner": "u-1", "apology": False, "channel": "email", "basis": "known"}
    assert world.tell("disclosure.make", 1, **told, **manner) == "recorded"
    world.catch_up()
    paths = [f"list/{name}" for name in LISTS]
    with browsing(world) as browser:
        paths += ["stream/customer:C-1", "stream/promise:P-1", "blast/D-1", "scorecard"]
        assert not any(sentence in browser.said(path) for path in paths)
        world.connection.execute(f"UPDATE projection.versions SET {change} WHERE name = 'findings'".encode())
        assert all(sentence in browser.said(path) for path in paths)


def test_views_that_are_not_there_are_said_with_the_command_that_makes_them(world: World) -> None:
    """Nothing else would say so: tables as this release has them are all that `promise-ledger health` looks at."""
    world.make(1)
    world.catch_up()
    world.connection.execute("DROP VIEW audit.outstanding_promises")
    with browsing(world) as browser:
        for path in ("", "list/outstanding", "stream/customer:C-1"):
            assert "are not those of this release: run `promise-ledger migrate`" in browser.said(path, 503), path
        install(world.url)
        assert "P-1" in browser.said("list/outstanding")


def test_a_list_that_ends_before_the_page_is_not_said_to_be_empty(browser: Browser) -> None:
    """A link to the page was handed on, and the list is shorter meanwhile."""
    said, html = browser.said("list/outstanding?page=2"), browser.page("list/outstanding?owner=u-1&page=2")
    assert "None on this page." in said
    assert "list/outstanding?page=1&owner=u-1" in links(html)


def test_no_address_on_a_page_is_another_to_a_browser(world: World) -> None:
    """An id may be `..`, which a browser takes for the folder above where it is a part of a path."""
    for name in ("..", "."):
        told = {"disclosure_id": name, "customer_id": name, "about": {"promise_id": name}, "text": "So it is."}
        world.make(1, promise_id=name, customer_id=name)
        manner = {"owner": "u-1", "apology": False, "channel": "email", "basis": "known"}
        assert world.tell("disclosure.make", 1, **told, **manner) == "recorded"
    world.catch_up()
    with browsing(world) as browser:
        pages = [
            f"{path}:{name}"
            for path in ("stream/promise", "stream/disclosure", "blast/disclosure")
            for name in ("..", ".")
        ]
        for path in ("", "list/outstanding", *pages):
            found = re.findall(r'(?:href|action)="([^"]*)"', browser.page(path))
            assert [each for each in found if urljoin("http://x/", each) != f"http://x{each}"] == ["#main"], path


def test_a_search_is_asked_as_of_the_moments_of_the_page(browser: Browser) -> None:
    html = browser.page("list/outstanding?as_of=2026-03-01&known_at=2026-03-02")
    (form,) = re.findall(r'<form[^>]*role="search">.*?</form>', html, re.DOTALL)
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    assert hidden == {"as_of": "2026-03-01T00:00:00Z", "known_at": "2026-03-02T00:00:00Z"}
    found = browser.get("/console/search?q=P-1&as_of=2026-03-01").headers["location"]
    assert found == "/console/stream/promise:P-1?as_of=2026-03-01T00%3A00%3A00Z"


def test_a_value_with_spaces_around_it_is_the_value(browser: Browser) -> None:
    assert browser.page("list/outstanding?owner=%20u-1%20") == browser.page("list/outstanding?owner=u-1")
    assert "Nothing has a value with a NUL character in it" in browser.said("list/outstanding?owner=%00", 400)


def test_what_happened_first_may_be_far_down_a_long_stream(world: World) -> None:
    """Of refusals, which come in any order: the first hundred happened later than the moment asked about."""
    for number in range(ROWS + 1):
        late = 50 if number < ROWS else 0
        world.now = at(60)
        assert world.tell("promise.claim_kept", late, promise_id="P-none", text="Done.") != "recorded"
    with browsing(world) as browser:
        first = browser.said(f"stream/source:crm?as_of={quote(at(1).isoformat())}")
        assert "the next page" in first


def test_a_followup_that_was_completed_by_then_is_said_to_be(world: World) -> None:
    plan = {"followup_id": "F-1", "customer_id": "C-1", "about": {"promise_id": "P-1"}, "due_at": at(9), "owner": "u-1"}
    world.make(1)
    assert world.tell("followup.schedule", 1, **plan) == "recorded"
    assert world.tell("followup.complete", 3, followup_id="F-1", outcome="works") == "recorded"
    world.catch_up()
    with browsing(world) as browser:
        asked = [f"stream/followup:F-1?as_of={quote(at(hours).isoformat())}" for hours in (2, 4)]
        before, after = map(browser.said, asked)
        assert ("How it stood" in before, "It was completed" in before) == (True, False)
        assert ("How it stood" in after, "It was completed, and owed no more." in after) == (False, True)
