"""Somebody else's server: what it answers is read within its time, or not at all."""

import time
from urllib.error import HTTPError, URLError

import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from deploy.foreign import opened
from tests.service.serving import dripping_before_a_body, served


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"", b"H"), (b"HTTP/1.1 200 OK\r\nx: ", b"y"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
)
def test_an_answer_whose_head_never_ends_is_given_up(head: bytes, piece: bytes):
    began = time.monotonic()
    with dripping_before_a_body(head, piece) as url, pytest.raises(TimeoutError, match=r"longer than 0\.3 s"):
        opened(url, 0.3)
    assert time.monotonic() - began < 3


def test_what_is_answered_in_time_is_read_as_ever():
    routes = [
        Route("/", lambda _: Response(b"here")),
        Route("/moved", lambda _: RedirectResponse("/")),
        Route("/away", lambda _: RedirectResponse("ftp://127.0.0.1/")),
    ]
    with served(Starlette(routes=routes)) as port:
        for path in ("", "moved"):
            with opened(f"http://127.0.0.1:{port}/{path}", 10) as answer:
                assert (answer.status, answer.read(3), answer.read(3)) == (200, b"her", b"e")
        with pytest.raises(HTTPError, match="404") as missing:
            opened(f"http://127.0.0.1:{port}/missing", 10)
        with missing.value as answer:
            assert answer.read(99) == b"Not Found"
        with pytest.raises(URLError, match="ftp"):
            opened(f"http://127.0.0.1:{port}/away", 10)
