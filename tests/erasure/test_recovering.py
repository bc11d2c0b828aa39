"""Erasures and recoveries: who was erased stays erased, whatever a recovery loses or brings back."""

from pathlib import Path

import pytest

from deploy import recovering
from deploy.exporting import export_tiles
from ledger.app import Fork, Ledger
from ledger.recovery.evidence import NotRecovered
from ledger.storage import keys
from tests.erasure.conftest import Erasing


def cut_off(world: Erasing, *statements: str) -> None:
    """As a superuser who takes the triggers away."""
    with world.connection.transaction():
        world.connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            world.connection.execute(statement.encode())


def anew(world: Erasing, site: Path) -> list[str]:
    """The log goes on as another one, and the world with it; which read tables were derived again."""
    with recovering.opened_case(world.settings, sites=[str(site)]) as case:
        missing = case.missing(strict=False)
        world.vkey = case.recovery("ticket 88", lambda: world.now).anew("example/again", missing)
        rebuilt = recovering.rebuild_ahead(case)
    world.settings = world.settings.model_copy(update={"origin": "example/again"})
    world.secrets = keys.secrets_of(world.settings)
    world.ledger = Ledger.open(world.settings, clock=lambda: world.now)
    return rebuilt


def test_who_was_erased_in_a_tail_that_was_cut_off_stays_erased_in_the_log_that_goes_on(
    told: Erasing, tmp_path: Path
) -> None:
    told.ledger.flush()
    export_tiles(told.url, tmp_path / "site", lambda done, total: None)  # of leaves 0 to 4
    assert told.erase() == "recorded"
    told.eraser().round()
    assert told.tell("promise.warn", 2, promise_id="P-4", reason="It snows on leaf 7.") == "recorded"
    told.catch_up()
    told.ledger.close()
    cut_off(told, "DELETE FROM ledger.events WHERE notification_id > 5")
    with pytest.raises(NotRecovered, match="from leaf 5 on, 3 commands, 1 texts and 0 tiles are left"):
        anew(told, tmp_path / "site")
    cut_off(told, "DELETE FROM ledger.inbox WHERE leaf_index >= 5", "DELETE FROM ledger.sealed WHERE leaf_index >= 5")
    assert anew(told, tmp_path / "site") == ["followups", "promises", "texts", "timeline"]
    assert told.tell("promise.warn", 3, promise_id="P-1", reason="Late.") == "customer-erased", "their key is no more"
    assert told.tell("promise.warn", 3, promise_id="P-4", reason="It snows again.") == "recorded"
    told.catch_up()
    assert told.found() == ("customer_keys", 0), "nothing in this log orders that"
    assert told.erase() == "recorded"
    assert told.eraser().round() == 1
    told.catch_up()
    assert (told.found(), told.left()) == (None, {})


@pytest.mark.parametrize("done", [0, 1, 2])
def test_an_erasure_broken_off_before_the_guard_was_lost_is_brought_to_its_end(told: Erasing, done: int) -> None:
    told.ledger.append([told.submission("subject.erase", told.now, customer_id="C-1", grounds="art-17")])  # unsigned
    if done > 0:
        told.eraser().sign([told.order()])
    if done > 1:
        told.eraser().destroy(told.order())
    told.ledger.close()
    told.settings.guard_path.unlink()
    with pytest.raises(Fork, match="the fork guard is missing"):
        Ledger.open(told.settings)
    with recovering.opened_case(told.settings) as case:
        case.recovery("ticket 88", lambda: told.now).guard()
    told.ledger = Ledger.open(told.settings, clock=lambda: told.now)
    assert told.eraser().round() == 1
    told.catch_up()
    assert (told.found(), told.left()) == (None, {})
    assert [each["keys"] for each in told.completions()] == [1]
