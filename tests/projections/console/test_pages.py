"""The pages say what the read tables and the log say, of then as well as of now, and show words as words alone."""

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from urllib.parse import quote, urlsplit

import pytest

from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Signer
from ledger.tlog.proof_file import ProofFile
from projections import queries
from projections.web import tiles
from projections.web.app import create_app
from projections.web.console import pages
from projections.web.console.access import Access
from projections.web.console.asked import ROWS, Unclear, moment
from projections.web.console.lists import LISTS, SEARCHED
from projections.web.console.pages import Console
from projections.web.console.routes import routes
from projections.web.health import health
from projections.web.tiles import open_pool
from tests.projections.console.conftest import TOKEN, Browser, browsing
from tests.projections.world import World, at, wait_for
from tests.service.serving import ask, served


def links(html: str) -> set[str]:
    """Addresses of further pages, below /console/."""
    found = {unescape(each) for each in re.findall(r'href="([^"]*)"', html)}
    return {each.removeprefix("/console/") for each in found if each.startswith("/console/")} - {"style.css"}


def reached(browser: Browser, *begun: str) -> set[str]:
    """Every page that links lead to, each answered 200; of a list that is asked for one value one a column."""
    seen: set[str] = set()
    asked: set[str] = set()
    todo = list(begun)
    while todo:
        path = todo.pop()
        sort = re.sub("=[^&]*", "", path)
        if path not in seen and (path == sort or sort not in asked or not path.startswith("list/")):
            seen.add(path)
            asked.add(sort)
            if not path.endswith(("/proof", "/entry")):
                todo += links(browser.page(path)) - seen
    return seen


def test_links_lead_to_every_list_every_stream_with_a_customer_and_every_event_of_one(browser: Browser) -> None:
    seen = reached(browser, "")
    assert {f"list/{name}" for name in LISTS} | {"scorecard"} <= seen
    rows = browser.world.ask(
        "SELECT leaf_index, stream FROM audit.customer_timeline UNION SELECT leaf_index, 'customer:' || customer_id "
        "FROM audit.customer_timeline"
    )
    assert {f"stream/{row['stream']}" for row in rows} <= seen
    assert {f"event/{row['leaf_index']}" for row in rows} <= seen
    assert {f"event/{row['leaf_index']}/proof" for row in rows} <= seen


def test_links_lead_to_pages_as_of_the_same_moment(browser: Browser) -> None:
    then = quote(at(1).isoformat())
    for path in ("", "list/outstanding", "stream/promise:P-1", "stream/customer:C-1"):
        found = {each for each in links(browser.page(f"{path}?as_of={then}")) if each.startswith(("list", "stream"))}
        back = {each for each in found if each == path}
        assert found - back
        assert {urlsplit(each).query.partition("&")[0] for each in found - back} == {"as_of=2026-03-01T13%3A00%3A00Z"}
        for each in sorted(found - back)[::4]:
            browser.page(each)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("hours", [None, 1])
def test_a_list_has_the_rows_of_its_report_in_their_order(browser: Browser, name: str, hours: float | None) -> None:
    listing, moments = LISTS[name], {} if hours is None else {"as_of": at(hours), "known_at": None}
    keys = queries.keyring(None)
    rows = queries.rows_of(browser.world.connection, keys, listing.report, **moments)  # type: ignore[arg-type]
    html = browser.page(f"list/{name}" if hours is None else f"list/{name}?as_of={quote(at(hours).isoformat())}")
    shown = re.findall(r"<tr><td><a [^>]*>([^<]*)</a>", html)
    assert shown == [row[listing.columns[0]] for row in rows]
    if hours is None:
        assert shown


def test_a_list_can_be_asked_for_one_value_and_says_so(browser: Browser) -> None:
    rows = browser.world.ask(
        "SELECT promise_id FROM audit.outstanding_promises WHERE customer_id = 'C-1' ORDER BY due_at"
    )
    html = browser.page("list/outstanding?customer_id=C-1&owner=")
    assert re.findall(r"<tr><td><a [^>]*>([^<]*)</a>", html) == [row["promise_id"] for row in rows]
    assert 'name="customer_id" value="C-1"' in html
    assert "None." in browser.said("list/outstanding?customer_id=nobody")
    assert "A promise is past due and not claimed kept." in browser.said("list/findings?code=overdue")


def test_what_was_not_true_is_what_was_falsified_and_what_rests_on_it(world: World) -> None:
    world.make(1)
    manner = {"customer_id": "C-1", "owner": "u-1", "apology": False, "channel": "email", "basis": "known"}
    for number, rests_on in ((1, []), (2, ["D-1"]), (3, [])):
        told = {
            "disclosure_id": f"D-{number}",
            "about": {"promise_id": "P-1"},
            "text": "So it is.",
            "based_on": rests_on,
        }
        assert world.tell("disclosure.make", number, **told, **manner) == "recorded"
    untrue = {"disclosure_id": "D-1", "known_since": at(4), "why": "It was not so."}
    assert world.tell("disclosure.falsify", 5, **untrue) == "recorded"
    world.catch_up()
    with browsing(world) as browser:
        assert re.findall(r">(D-\d)</a>", browser.page("list/falsehoods")) == ["D-1", "D-2"]
        assert "None then." in browser.said(f"list/falsehoods?as_of={quote(at(4).isoformat())}")


def test_a_page_is_one_moment_of_the_database(world: World) -> None:
    """Between two of its questions what it has not asked yet is changed, and it does not see that."""
    world.make(1, due_at=1)
    world.catch_up()
    live = {row["name"]: row["number"] for row in world.ask("SELECT name, number FROM projection.versions WHERE live")}
    other = world.connection_of_tuples()
    with browsing(world) as browser, ThreadPoolExecutor(1) as asking:
        with other.transaction():
            other.execute(f"LOCK TABLE read_followups_v{live['followups']}.followups".encode())
            page = asking.submit(browser.said, "stream/customer:C-1")
            wait_for(lambda: world.ask("SELECT FROM pg_locks WHERE NOT granted") != [])
            world.tamper(f"DELETE FROM read_findings_v{live['findings']}.findings")
        assert "no-warning" in page.result()
        assert "no-warning" not in browser.said("stream/customer:C-1")


def test_what_is_no_filter_is_no_filter(browser: Browser) -> None:
    assert browser.page("list/outstanding?text=x%27%20OR%20true--") == browser.page("list/outstanding")
    assert "None." in browser.said("list/outstanding?owner=x%27%20OR%20true--")


def test_the_first_page_counts_what_the_lists_show(browser: Browser) -> None:
    html = browser.page("")
    for name, title in (("outstanding", "Outstanding promises"), ("findings", "Findings"), ("falsehoods", "Not true")):
        (count,) = re.findall(rf">{title}</a>: (\d+)", html)
        rows = queries.rows_of(browser.world.connection, queries.keyring(None), LISTS[name].report)
        assert int(count) == len(rows) > 0
    severities = re.findall(r"severity=(\w+)", html)
    assert severities == sorted(severities, key=("high", "medium", "low").index)


def test_the_first_page_says_what_does_not_get_on(browser: Browser) -> None:
    assert "intake has never been seen at work" in browser.said("")


def test_what_takes_long_to_count_is_not_counted_and_the_rest_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_COUNT_QUICKLY", pages._COUNT_QUICKLY.replace("2s", "300ms"))
    world.make(1)
    world.catch_up()
    other = world.connection_of_tuples()
    (table,) = (
        other.execute(
            "SELECT format('read_followups_v%s.followups', number) FROM projection.versions "
            "WHERE name = 'followups' AND live"
        ).fetchone()
        or ()
    )
    with browsing(world) as browser, other.transaction():
        other.execute(f"LOCK TABLE {table}".encode())
        said = browser.said("")
    assert "Follow-ups due Too many to be counted here." in said
    assert "Outstanding promises : 1" in said


def test_a_promise_as_it_stands_and_as_it_stood(world: World) -> None:
    world.make(1, occurred_at=0, due_at=24)
    world.now = at(30)
    assert world.tell("promise.claim_kept", 20, promise_id="P-1", text="Done.") == "recorded"
    world.catch_up()
    with browsing(world) as browser:
        now = browser.said("stream/promise:P-1")
        assert "How it stands" in now
        assert "fulfilment verified" in now or "fulfilment claimed" in now
        assert "promise.claimed_kept" in now
        for asked in (f"as_of={quote(at(10).isoformat())}", f"known_at={quote(at(29).isoformat())}"):
            then = browser.said(f"stream/promise:P-1?{asked}")
            assert "How it stood" in then
            assert "fulfilment none" in then
            assert "claimed_kept" not in then
            assert "Not as of now" in then
        earlier = browser.said(f"stream/promise:P-1?as_of={quote(at(-1).isoformat())}", 404)
        assert "There was no promise:P-1 then" in earlier
        back = links(browser.page(f"stream/promise:P-1?as_of={quote(at(-1).isoformat())}", 404))
        assert "stream/promise:P-1" in back


def test_the_words_of_an_erased_customer_are_on_no_page(world: World) -> None:
    world.make(1, text="A secret of theirs.", condition={"text": "Another secret.", "by": at(5)})
    told = {"disclosure_id": "D-1", "customer_id": "C-1", "about": {"promise_id": "P-1"}, "text": "A third secret."}
    manner = {"owner": "u-1", "apology": False, "channel": "email", "basis": "known"}
    assert world.tell("disclosure.make", 1, **told, **manner) == "recorded"
    world.catch_up()
    with browsing(world) as browser:
        shown = [path for path in reached(browser, "") if b"secret" in browser.get(f"/console/{path}").body]
        assert {"list/outstanding", "stream/promise:P-1", "stream/customer:C-1", "event/0"} <= set(shown)
        assert world.tell("subject.erase", 2, customer_id="C-1", grounds="art-17") == "recorded"
        for path in shown:
            assert b"secret" not in browser.get(f"/console/{path}").body, path
        assert "[erased on 2026-03-01]" in browser.said("stream/customer:C-1")
        assert "[erased on 2026-03-01]" in browser.said("stream/promise:P-1")


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> &lt; {{ 7 * 7 }} \u202ename"


def test_words_are_words_and_never_markup(world: World) -> None:
    world.make(1, text=HOSTILE)
    world.catch_up()
    with browsing(world) as browser:
        for path in ("list/outstanding", "stream/promise:P-1", "stream/customer:C-1", "event/0"):
            html = browser.page(path)
            assert "<script" not in html
            assert "<img" not in html
            quoted = [unescape(each) for each in re.findall(r"<q><bdi>([^<]*)</bdi></q>", html)]
            assert HOSTILE in quoted, path


@pytest.mark.parametrize(
    "path",
    [
        f"search?q={quote(HOSTILE)}",
        f"list/outstanding?owner={quote(HOSTILE)}",
        f"list/outstanding?as_of={quote(HOSTILE)}",
        f"stream/{quote(HOSTILE, safe='')}",
        f"scorecard?by={quote(HOSTILE)}",
        f"{quote(HOSTILE, safe='')}",
    ],
)
def test_what_is_asked_is_no_markup_either(browser: Browser, path: str) -> None:
    answer = browser.get(f"/console/{path}")
    assert answer.status in (200, 400, 404)
    assert b"<script" not in answer.body
    assert b"<img" not in answer.body


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("list/none", 404, "There is no list none"),
        ("stream/promise:none", 404, "There is no promise:none"),
        ("stream/customer:none", 404, "There is no customer none"),
        ("stream/Promise", 404, "'Promise' names nothing: a kind, a colon and an id, such as promise:P-1"),
        ("blast/none", 404, "There is no disclosure none"),
        ("event/100000", 404, "There is no event 100000: the log is not that long"),
        (
            "event/100000/proof",
            404,
            "Event 100000 is not under a checkpoint",
        ),
        ("event/01", 404, "'01' is no index of an event: they are counted from 0"),
        ("event/-1", 404, "'-1' is no index of an event: they are counted from 0"),
        ("event/" + "9" * 30, 404, f"'{'9' * 30}' is no index of an event: they are counted from 0"),
        ("anything", 404, "There is no such page"),
        (
            "list/outstanding?as_of=tomorrow",
            400,
            "'tomorrow' is no moment: write 2026-11-21, 2026-11-21 10:00 (UTC) or 2026-11-21T10:00:00+01:00",
        ),
        ("list/outstanding?page=0", 400, "'0' is no page: a number from 1 to 10000"),
        ("list/outstanding?page=99999999999999999999", 400, "is no page: a number from 1 to 10000"),
        ("list/outstanding?page=000000001999999999999999999999", 400, "is no page: a number from 1 to 10000"),
        ("scorecard?by=phase", 400, "There is no card by 'phase': owner, kind, customer"),
        (
            "scorecard?from=2026-03-02&to=2026-03-01",
            400,
            "The period begins later than it ends",
        ),
    ],
)
def test_what_cannot_be_answered_gets_one_sentence(browser: Browser, path: str, status: int, sentence: str) -> None:
    assert sentence in browser.said(path, status)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("2026-03-01", -12), ("2026-03-01 13:00", 1), ("2026-03-01T13:00:00", 1), (" 2026-03-01T14:00:00+01:00 ", 1)],
)
def test_a_moment_can_be_a_day_or_a_minute(text: str, hours: float) -> None:
    assert moment(text) == at(hours)


@pytest.mark.parametrize("text", ["2026-13-01", "13:00", "2026-03-01 25:00", "1700000000", "0", "\x00", "9999-99-99"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Unclear):
        moment(text)


def test_a_long_list_and_a_long_trail_come_in_pages(world: World) -> None:
    world.ledger.submit(
        [
            world.submission(
                "promise.make",
                at(0),
                promise_id=f"P-{number:03}",
                customer_id="C-1",
                kind="deliver",
                text="It comes.",
                due_at=at(1 + number),
                owner="u-1",
                channel="phone",
                basis="known",
            )
            for number in range(ROWS + 5)
        ]
    )
    again = [world.submission("promise.read_back", at(0), promise_id="P-000", confirmed=True) for _ in range(ROWS)]
    world.ledger.submit(again)
    world.catch_up()
    with browsing(world) as browser:
        first, second = browser.page("list/outstanding?owner=u-1"), browser.page("list/outstanding?owner=u-1&page=2")
        assert [len(re.findall(r"<tr><td><a [^>]*>P-", page)) for page in (first, second)] == [ROWS, 5]
        assert "list/outstanding?page=2&amp;owner=u-1" in first
        assert 'rel="next"' not in second
        assert "list/outstanding?page=1&amp;owner=u-1" in second
        trail = [browser.page(f"stream/promise:P-000?page={page}") for page in (1, 2)]
        assert [len(re.findall(r"promise\.(?:made|read_back)", page)) for page in trail] == [ROWS, 1]
        newest, oldest = (browser.said(f"stream/customer:C-1?page={page}") for page in (1, 3))
        assert "promise:P-000" in newest
        assert newest.count("promise.read_back") == ROWS
        assert oldest.count("promise.made") == 5
        assert "The first 100; the lists above have all." in newest


def test_the_proof_of_an_event_holds_without_us(browser: Browser) -> None:
    key = Signer("localhost/promise-ledger", browser.world.secrets.log).verifier
    size = browser.world.ask("SELECT max(size) AS size FROM ledger.checkpoints")[0]["size"]
    for leaf in (0, 17, size - 1):
        entry = browser.get(f"/console/event/{leaf}/entry").body
        proof = ProofFile.parse(browser.get(f"/console/event/{leaf}/proof").body)
        proof.verify(leaf_hash(entry), key)
        assert leaf_hash(entry).hex() in browser.said(f"event/{leaf}")
        assert proof.index == leaf


def test_an_event_that_was_changed_has_no_proof(world: World) -> None:
    world.make(1)
    world.catch_up()
    world.tamper("UPDATE ledger.events SET state = set_byte(state, 0, 65)")
    with browsing(world) as browser:
        assert "is not the one that was signed" in browser.said("event/0/proof", 500)


@pytest.mark.parametrize("question", ["P-1", " P-1 ", "promise:P-1"])
def test_a_search_leads_to_the_one_thing_of_that_name(browser: Browser, question: str) -> None:
    found = browser.get(f"/console/search?q={quote(question)}&as_of=2026-03-02")
    assert found.status == 303
    assert found.headers["location"] == "/console/stream/promise:P-1?as_of=2026-03-02T00%3A00%3A00Z"


def test_a_search_shows_everything_of_one_name_and_says_where_there_is_nothing(browser: Browser) -> None:
    assert {"stream/need:N-1"} <= {browser.get("/console/search?q=N-1").headers["location"].removeprefix("/console/")}
    assert browser.get("/console/search?q=17").headers["location"] == "/console/event/17"
    assert browser.get("/console/search?q=C-1").headers["location"] == "/console/stream/customer:C-1"
    for nothing in ("p-1", "999999", "", "%25", "%00", "x" * 500):
        assert "Nothing has the id" in browser.said(f"search?q={nothing}"), nothing


def test_every_kind_of_stream_can_be_found(browser: Browser) -> None:
    kinds = browser.world.ask("SELECT DISTINCT split_part(originator_id, ':', 1) AS kind FROM ledger.events")
    assert {row["kind"] for row in kinds} <= set(SEARCHED)


def test_a_database_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "POOL_SECONDS", 0.2)
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with open_pool(nowhere) as pool, open_pool(nowhere, "console") as pages:
        console = Console(pages, lambda: queries.keyring(None), lambda: health(nowhere), [])
        with served(create_app(nowhere, pool, None, routes(console, Access(lambda: TOKEN)))) as port:
            answer = ask(port, "/console/list/outstanding", Authorization=f"Bearer {TOKEN}")
    assert answer.status == 503
    assert b"The database does not answer" in answer.body


def test_a_key_that_opens_nothing_is_said(world: World) -> None:
    world.make(1)
    world.catch_up()
    with open_pool(world.url) as pool:
        console = Console(pool, lambda: queries.keyring(b"x" * 32), lambda: health(world.url), [])
        with served(create_app(world.url, pool, None, routes(console, Access(lambda: TOKEN)))) as port:
            answer = ask(port, "/console/stream/promise:P-1", Authorization=f"Bearer {TOKEN}")
    assert answer.status == 500
    assert b"key-encryption key" in answer.body
