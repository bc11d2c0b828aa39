"""The scorecard as a page: as of the moments that led to it, and in parts where it has a card for each of many."""

import re
from urllib.parse import quote

from projections.scorecard import scorecard
from projections.web.console.asked import ROWS
from tests.projections.console.conftest import Browser, browsing
from tests.projections.world import World, at


def figures(html: str) -> list[tuple[str, ...]]:
    """The cells of each row, without marks."""
    rows = re.findall(r"<tr>(<td>.*?)</tr>", html)
    return [tuple(re.sub("<[^>]*>", "", each) for each in re.findall(r"<td[^>]*>(.*?)</td>", row)) for row in rows]


def test_a_link_as_of_a_moment_leads_to_the_card_of_then(browser: Browser) -> None:
    asked = f"as_of={quote(at(2).isoformat())}"
    (link,) = set(re.findall(r'href="/console/(scorecard[^"]*)"', browser.page(f"list/outstanding?{asked}")))
    then = browser.page(link.replace("&amp;", "&"))
    assert figures(then) == figures(browser.page(f"scorecard?to={quote(at(2).isoformat())}"))
    assert figures(then) != figures(browser.page("scorecard"))
    assert f"list/outstanding?as_of={quote(at(2).isoformat().replace('+00:00', 'Z'))}" in then


def test_a_card_for_each_of_many_comes_in_pages(world: World) -> None:
    for number in range(20):
        world.make(number, customer_id=f"C-{number:02}", due_at=1)
    world.catch_up()
    with browsing(world) as browser:
        path, pages = "scorecard?by=customer&from=2026-01-01&to=2026-03-02", []
        while path:
            pages.append(browser.page(path))
            path = "".join(re.findall(r'rel="next" href="/console/([^"]*)"', pages[-1])).replace("&amp;", "&")
    shown = [row for page in pages for row in figures(page)]
    measures = scorecard(world.connection, start=at(-1500), stop=at(12), by="customer")
    assert len(shown) == len(measures) > ROWS
    assert all(len(figures(page)) <= ROWS for page in pages)
    assert [(row[0], row[1].replace(" ", "_")) for row in shown] == [(each.group_id, each.measure) for each in measures]
