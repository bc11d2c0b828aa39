"""A page of a thing has what an auditor asks about it, and its links lead on."""

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
