"""A console over a ledger in which something happened of everything, read as the service reads it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape

import pytest

from ledger.storage import keys
from projections import queries
from projections.site import Site
from projections.web.app import create_app
from projections.web.console.access import Access
from projections.web.console.pages import Console
from projections.web.console.routes import routes
from projections.web.health import health
from projections.web.tiles import open_pool
from tests.projections.world import World
from tests.service.serving import Answer, ask, served
from tests.storage.test_roles import as_role

TOKEN = "a-token-that-only-this-test-could-know"


@dataclass
class Browser:
    """Somebody who has the token, or says not to."""

    port: int
    world: World

    def get(self, path: str, *, token: str | None = TOKEN, **headers: str) -> Answer:
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        return ask(self.port, path, **shown, **headers)

    def page(self, path: str, status: int = 200) -> str:
        """The HTML of a page below /console/."""
        answer = self.get(f"/console/{path}")
        assert answer.status == status, (path, answer.body.decode())
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return answer.body.decode()

    def said(self, path: str, status: int = 200) -> str:
        """What a page says, without its marks."""
        return " ".join(unescape(re.sub("<[^>]*>", " ", self.page(path, status))).split())


@contextmanager
def browsing(world: World, token: str | None = TOKEN) -> Iterator[Browser]:
    """The console of that ledger, run as the role of its service."""
    world.ledger.flush()  # as the service does within two seconds
    url = as_role(world.url, "ledger_projector")

    def open_keyring() -> queries.Keyring:
        return queries.keyring(keys.load(world.settings.keys_dir).kek)

    with open_pool(url) as pool, open_pool(url, "console") as pages:
        console = Console(pages, open_keyring, lambda: health(url), [Site()])
        with served(create_app(url, pool, None, routes(console, Access(lambda: token)))) as port:
            yield Browser(port, world)


@pytest.fixture(scope="module")
def browser(everything: World) -> Iterator[Browser]:
    with browsing(everything) as browser:
        yield browser
