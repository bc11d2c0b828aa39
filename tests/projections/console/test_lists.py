"""A list asked for one value answers for that value, or says that there is none such: never "None" for a slip."""

from urllib.parse import quote

import pytest

from projections.web.console.lists import LISTS
from tests.projections.console.conftest import Browser, browsing
from tests.projections.console.test_pages import links
from tests.projections.world import World, at


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("outstanding?timeliness=Overdue", "There is no timeliness 'Overdue': running, warned, overdue, late, on_time"),
        ("findings?code=Overdue", "There is no code 'Overdue': overdue, no-warning"),
        ("problems?state=closed", "There is no state 'closed': open, claimed, verified"),
    ],
)
def test_a_value_that_there_never_is_is_told_and_not_answered_none(browser: Browser, path: str, sentence: str) -> None:
    assert sentence in browser.said(f"list/{path}", 400)


def test_blanks_around_what_was_pasted_do_not_count(browser: Browser) -> None:
    assert browser.page("list/outstanding?customer_id=%20C-1%20") == browser.page("list/outstanding?customer_id=C-1")


@pytest.mark.parametrize("name", LISTS)
def test_the_values_to_choose_from_are_all_that_there_are(browser: Browser, name: str) -> None:
    for column, values in LISTS[name].filters.items():
        found = browser.world.ask(f"SELECT DISTINCT {column} AS value FROM audit.{LISTS[name].report.view}")
        assert not values or {row["value"] for row in found} - {None} <= set(values), column


def test_an_owner_in_a_list_leads_to_what_they_owe_then(world: World) -> None:
    world.make(1, owner="u-1")
    world.make(2, owner="u-2", due_at=30)
    world.catch_up()
    then = f"as_of={quote(at(26).isoformat())}"
    with browsing(world) as browser:
        (his,) = {each for each in links(browser.page(f"list/outstanding?timeliness=overdue&{then}")) if "u-1" in each}
        assert {"timeliness=overdue", "owner=u-1"} <= set(his.partition("?")[2].split("&"))
        assert "P-1" in browser.said(his)
        assert "P-2" not in browser.said(his)
        assert "P-2" in browser.said(f"list/outstanding?{then}")
