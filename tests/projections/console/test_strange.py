"""Ids that look like something else, rows that open to nothing: each spoils what it is about, and no other page."""

import re

import pytest

from tests.projections.console.conftest import browsing
from tests.projections.world import World


@pytest.mark.parametrize("owner", ["2026-99-99T99:99:99Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:60Z"])
def test_an_id_that_looks_like_a_moment_and_is_none_is_shown_as_it_is(world: World, owner: str) -> None:
    world.make(1)
    world.make(2, owner=owner)
    world.catch_up()
    with browsing(world) as browser:
        html = browser.page("list/outstanding")
        assert re.findall(r"<tr><td><a [^>]*>(P-\d)</a>", html) == ["P-1", "P-2"]
        for path in ("list/outstanding", "stream/promise:P-2", "stream/customer:C-1", "event/1", "scorecard?by=owner"):
            assert owner in browser.said(path), path


def test_a_sealed_text_that_does_not_open_is_said_and_spoils_no_other_page(world: World) -> None:
    world.make(1)
    world.make(2)
    world.catch_up()
    world.tamper("UPDATE ledger.sealed SET ciphertext = ciphertext || 'x'::bytea WHERE leaf_index = 0")
    with browsing(world) as browser:
        for path in ("stream/promise:P-1", "event/0"):
            said = browser.said(path, 500)
            assert "does not open under its key: run `promise-ledger verify`" in said
        browser.page("event/1")
        browser.page("stream/promise:P-2")
