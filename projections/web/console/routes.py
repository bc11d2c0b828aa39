"""The console over HTTP: it only reads, for whoever shows the token, and no page can do anything but be read."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from projections.web.console.access import COOKIE, Access, password_in
from projections.web.console.answers import Absent, Busy, Page, enter_page, trouble
from projections.web.console.asked import Asked, Unclear
from projections.web.console.pages import Console
from projections.web.tiles import POOL_SIZE

_STYLE: Final = Path(__file__).with_name("style.css").read_bytes()
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Nothing runs, nothing is fetched from elsewhere, nothing is kept by a browser after an erasure."""
WAITING: Final = 12
"""Who may wait for a turn, each on a thread of the server: it has 40, and /health and the log need some."""
PATIENCE_SECONDS: Final = 10.0
_READ: Final = ["GET", "HEAD"]
Answer = Page | Response


def routes(console: Console, access: Access) -> APIRouter:
    """Everything below /console/."""
    router = APIRouter(prefix="/console")
    turns, places = threading.BoundedSemaphore(POOL_SIZE), threading.BoundedSemaphore(POOL_SIZE + WAITING)

    def answered(request: Request, ask: Callable[[], Answer]) -> Response:
        if not access.allows(request.headers, request.cookies):
            return _html(enter_page(closed=not access.open))
        try:
            with in_turn():
                answer = ask()
        except Exception as error:
            path = quote(request.url.path.removeprefix("/console/"), safe="/:")
            answer = trouble(error, _moments(request.query_params), path)
        return _html(answer) if isinstance(answer, Page) else _guarded(answer)

    @contextmanager
    def in_turn() -> Iterator[None]:
        """A few pages are made at once, some who ask wait for theirs; Busy for everybody else."""
        if not places.acquire(blocking=False):
            raise Busy
        try:
            if not turns.acquire(timeout=PATIENCE_SECONDS):
                raise Busy
            try:
                yield
            finally:
                turns.release()
        finally:
            places.release()

    @router.api_route("", methods=_READ)
    def get_root() -> Response:
        return _guarded(RedirectResponse("/console/", 308))

    @router.api_route("/style.css", methods=_READ)
    def get_style() -> Response:
        return Response(_STYLE, media_type="text/css", headers=_HEADERS | {"Cache-Control": "max-age=300"})

    @router.api_route("/enter", methods=_READ)
    def get_enter(request: Request, token: str = "") -> Response:
        """The token goes into a cookie, and out of the address that `promise-ledger console` prints; a browser that has
        no such address is made to ask for the token as for a password."""
        session = access.enter(token or password_in(request.headers))
        if session is None:
            answer = _html(enter_page(closed=not access.open))
            answer.headers["WWW-Authenticate"] = 'Basic realm="promise ledger: the token as password", charset="UTF-8"'
            return answer
        entered = RedirectResponse("/console/", 303)
        secure = request.url.scheme == "https"
        entered.set_cookie(COOKIE, session, path="/console/", httponly=True, samesite="lax", secure=secure)
        return _guarded(entered)

    @router.post("/leave")
    def post_leave() -> Response:
        answer = RedirectResponse("/console/", 303)
        answer.delete_cookie(COOKIE, path="/console/")
        return _guarded(answer)

    @router.api_route("/", methods=_READ)
    def get_overview(request: Request) -> Response:
        return answered(request, lambda: console.overview(request.query_params))

    @router.api_route("/list/{name}", methods=_READ)
    def get_list(request: Request, name: str) -> Response:
        return answered(request, lambda: console.listing(name, request.query_params))

    @router.api_route("/stream/{name}", methods=_READ)
    def get_stream(request: Request, name: str) -> Response:
        return answered(request, lambda: console.stream(name, request.query_params))

    @router.api_route("/blast/{name}", methods=_READ)
    def get_blast(request: Request, name: str) -> Response:
        return answered(request, lambda: console.blast(name, request.query_params))

    @router.api_route("/scorecard", methods=_READ)
    def get_scorecard(request: Request) -> Response:
        return answered(request, lambda: console.card(request.query_params))

    @router.api_route("/search", methods=_READ)
    def get_search(request: Request) -> Response:
        def ask() -> Answer:
            found = console.search(request.query_params)
            return RedirectResponse(found, 303) if isinstance(found, str) else found

        return answered(request, ask)

    @router.api_route("/event/{leaf}", methods=_READ)
    def get_event(request: Request, leaf: str) -> Response:
        return answered(request, lambda: console.event(_leaf(leaf)))

    @router.api_route("/event/{leaf}/entry", methods=_READ)
    def get_entry(request: Request, leaf: str) -> Response:
        return answered(request, lambda: _download(console.entry(_leaf(leaf)), f"leaf-{leaf}.entry"))

    @router.api_route("/event/{leaf}/proof", methods=_READ)
    def get_proof(request: Request, leaf: str) -> Response:
        return answered(request, lambda: _download(console.proof(_leaf(leaf)), f"leaf-{leaf}.tlog-proof"))

    @router.api_route("/{path:path}", methods=_READ)
    def get_other(request: Request, path: str) -> Response:
        def ask() -> Answer:
            raise Absent("there is no such page")

        return answered(request, ask)

    return router


def _moments(query: Mapping[str, str]) -> Asked:
    """What was asked, where that can be read: for links on a page that says why it was not answered."""
    try:
        return Asked.read(query)
    except Unclear:
        return Asked()


def _leaf(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19) or str(int(text)) != text:
        raise Absent(f"{text!r} is no index of an event: they are counted from 0")
    return int(text)


def _download(body: bytes, name: str) -> Response:
    about: dict[str, Any] = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type="application/octet-stream", headers=about)


def _html(page: Page) -> Response:
    return _guarded(HTMLResponse(page.html, page.status))


def _guarded(answer: Response) -> Response:
    answer.headers.update(_HEADERS)
    return answer
