"""A page of a thing has what an auditor asks about it, and its links lead on."""

from urllib.parse import quote

from tests.projections.console.conftest import browsing
from tests.projections.console.test_pages import links
from tests.projections.troubles import detect, tell
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
