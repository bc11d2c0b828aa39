"""Nobody reads the console who has not shown its token, and what it answers stays with whoever asked."""

import base64
import http.client
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from tests.projections.console.conftest import TOKEN, Browser, browsing
from tests.projections.world import World
from tests.service.serving import Answer, ask

PAGES = (
    "",
    "list/outstanding",
    "stream/promise:P-1",
    "event/0",
    "event/0/proof",
    "event/0/entry",
    "blast/D-0",
    "no-page",
)
WORDS = b"We mend it"


def show(browser: Browser, token: str, user: str = "") -> Answer:
    """As a browser does that asks for a password."""
    shown = base64.b64encode(f"{user}:{token}".encode()).decode()
    return ask(browser.port, "/console/enter", Authorization=f"Basic {shown}")


def cookie_of(answer: Answer) -> str:
    (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return f"{morsel.key}={morsel.value}"


@pytest.mark.parametrize("path", [*PAGES, "scorecard", "search?q=P-1"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Cookie": "promise-ledger-console=x"}])
def test_whoever_has_not_shown_the_token_sees_the_door_and_nothing_else(
    browser: Browser, path: str, headers: dict[str, str]
) -> None:
    answer = browser.get(f"/console/{path}", token=None, **headers)
    assert (answer.status, answer.body) == (401, browser.get("/console/enter", token=None).body)
    assert WORDS not in answer.body


def test_the_token_itself_and_the_cookie_that_it_gives_let_in(browser: Browser) -> None:
    assert WORDS in browser.get("/console/list/outstanding").body
    entered = show(browser, TOKEN, "anna")
    assert (entered.status, entered.headers["location"]) == (303, "/console/")
    assert TOKEN not in entered.headers["set-cookie"]
    assert WORDS in browser.get("/console/list/outstanding", token=None, Cookie=cookie_of(entered)).body


def test_the_address_that_the_command_prints_lets_in_and_leaves_the_address_bar(browser: Browser) -> None:
    entered = browser.get(f"/console/enter?{urlencode({'token': TOKEN})}", token=None)
    assert (entered.status, entered.headers["location"]) == (303, "/console/")
    (cookie,) = SimpleCookie(entered.headers["set-cookie"]).values()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (True, "lax", "/console/", "")
    behind_tls = browser.get(f"/console/enter?token={TOKEN}", token=None, X_Forwarded_Proto="https")
    assert "Secure" in behind_tls.headers["set-cookie"]


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "ü" * 40, "x" * 5000, "\x00"])
def test_another_token_is_not_taken(browser: Browser, token: str) -> None:
    answer = show(browser, token)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert browser.get(f"/console/enter?{urlencode({'token': token})}", token=None).status == 401


@pytest.mark.parametrize("shown", ["Basic", "Basic x", "Basic /w==", f"Digest {TOKEN}", f"Basic {TOKEN}", "\x00"])
def test_what_is_no_password_is_not_taken(browser: Browser, shown: str) -> None:
    assert ask(browser.port, "/console/enter", Authorization=shown).status in (400, 401)


def test_a_password_lets_in_at_the_door_alone(browser: Browser) -> None:
    shown = base64.b64encode(f":{TOKEN}".encode()).decode()
    assert browser.get("/console/", token=None, Authorization=f"Basic {shown}").status == 401
    assert "www-authenticate" not in browser.get("/console/", token=None).headers


def test_another_token_ends_every_session(everything: World) -> None:
    with browsing(everything, "b" * 32) as before:
        cookie = cookie_of(show(before, "b" * 32))
        assert before.get("/console/", token=None, Cookie=cookie).status == 200
    with browsing(everything, "c" * 32) as after:
        assert after.get("/console/", token=None, Cookie=cookie).status == 401


def test_whoever_leaves_has_no_cookie_any_more(browser: Browser) -> None:
    left = ask(browser.port, "/console/leave", method="POST")
    assert (left.status, left.headers["location"]) == (303, "/console/")
    (cookie,) = SimpleCookie(left.headers["set-cookie"]).values()
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/console/")


def test_without_a_token_the_console_is_closed_to_everybody(everything: World) -> None:
    with browsing(everything, None) as browser:
        for token in ("", "None", TOKEN):
            assert browser.get("/console/", token=token).status == 401
            assert show(browser, token).status == 401
        assert b"promise-ledger console" in browser.get("/console/").body


@pytest.mark.parametrize("path", [*PAGES, "enter", "list/none", "list/outstanding?as_of=never", "event/999999"])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_no_answer_is_kept_framed_run_or_told_to_others(browser: Browser, path: str, token: str | None) -> None:
    headers = browser.get(f"/console/{path}", token=token).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    rules = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(rules)
    assert not any("script" in rule or "unsafe" in rule or "*" in rule for rule in rules)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["", "list/outstanding", "event/0", "no-page"])
def test_nothing_can_be_done_but_read(browser: Browser, method: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=30)
    connection.request(method, f"/console/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert connection.getresponse().status == 405
    connection.close()


def test_the_address_of_the_service_leads_to_the_console_and_the_log_stays_open(browser: Browser) -> None:
    assert browser.get("/", token=None).headers["location"] == "/console/"
    assert browser.get("/console", token=None).headers["location"] == "/console/"
    assert browser.get("/tile/0/000.p/1", token=None).status == 200
    assert browser.get("/console/style.css", token=None).headers["content-type"] == "text/css; charset=utf-8"
