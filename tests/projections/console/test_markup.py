"""Pages can be read without eyes and without a pointer: names for whatever has a function, and a sound structure."""

from html.parser import HTMLParser

import pytest

from projections.web.console.lists import LISTS
from tests.projections.console.conftest import Browser

VOID = {"meta", "link", "input", "br"}
PAGES = (
    *("", "scorecard", "scorecard?by=owner", "search?q=nothing", "event/0", "blast/D-0", "no-page"),
    *(f"list/{name}" for name in LISTS),
    *(f"stream/{name}" for name in ("customer:C-1", "promise:P-1", "disclosure:D-0", "source:crm")),
)


class Outline(HTMLParser):
    """What a page is made of. Fails where an element is not closed where it was opened, or an id is there twice."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.said: dict[int, str] = {}
        self.feed(html)
        self.close()
        assert self.open == []
        ids = [each["id"] for _, each, _ in self.found if "id" in each]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.said[len(self.found) - 1] = self.said.get(len(self.found) - 1, "") + data.strip()

    def those(self, *tags: str) -> list[tuple[str, dict[str, str | None], tuple[str, ...]]]:
        return [each for each in self.found if each[0] in tags]


@pytest.fixture(scope="module", params=PAGES)
def outline(request: pytest.FixtureRequest, browser: Browser) -> Outline:
    return Outline(browser.get(f"/console/{request.param}").body.decode())


def test_a_page_has_a_language_a_title_one_first_heading_and_leaves_no_level_out(outline: Outline) -> None:
    assert outline.those("html")[0][1]["lang"] == "en"
    assert len(outline.those("title")) == len(outline.those("h1")) == len(outline.those("main")) == 1
    levels = [int(tag[1]) for tag, _, _ in outline.those("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in zip([0, *levels], levels, strict=False))


def test_whatever_is_filled_in_has_a_label(outline: Outline) -> None:
    for tag, about, within in outline.those("input", "select"):
        assert about.get("type") == "hidden" or "label" in within or about.get("aria-label"), (tag, about)


def test_a_table_has_a_name_and_its_columns_have_headings(outline: Outline) -> None:
    tables = outline.those("table")
    assert all(about.get("aria-label") for _, about, _ in tables)
    headings = [(place, each) for place, each in enumerate(outline.found) if each[0] == "th"]
    assert not tables or headings
    for place, (_, about, _) in headings:
        assert about["scope"] == "col"
        assert outline.said.get(place), "a heading without a word"


def test_what_a_column_means_can_be_read_without_a_pointer(browser: Browser) -> None:
    for path in (f"list/{next(iter(LISTS))}", "stream/promise:P-1"):
        assert "When it is due as agreed now." in browser.said(path).partition("What the columns mean")[2]
