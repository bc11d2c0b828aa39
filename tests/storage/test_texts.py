"""Sealed texts are compared with the keys that they need, however many customers there are or what they are called."""

from datetime import UTC, datetime

import orjson
import pytest

from ledger.erasure.order import Order
from ledger.tlog.merkle import leaf_hash
from ledger.verification.leaves import LeafChecker
from ledger.verification.report import Problem, connect
from ledger.verification.texts import Missing
from tests.storage.attack import SIZE, Attack

ERASED_AT = datetime(2026, 3, 2, tzinfo=UTC)


def _problem(attack: Attack, missing: Missing) -> Problem | None:
    with connect(attack.url) as connection:
        checker = LeafChecker(connection, attack.backup.log.secrets.kek, missing, size=SIZE, stripe=0, stripes=1)
        return next((leaves.problem for leaves in checker.ranges() if leaves.problem is not None), None)


def test_keys_that_a_range_needs_are_not_forgotten_for_the_sake_of_an_erased_one(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
):
    attack.run("DELETE FROM ledger.sealed WHERE customer_id = 'C-3'")
    attack.run("UPDATE ledger.customer_keys SET wrapped = NULL, destroyed_at = %s WHERE customer_id = 'C-3'", ERASED_AT)
    monkeypatch.setattr("ledger.verification.texts._CACHED_KEYS", 2)
    monkeypatch.setattr("ledger.verification.leaves.RANGE", 64)
    assert _problem(attack, Missing({"C-3": Order("C-3", 0, ERASED_AT, 1)}, [])) is None


def test_an_entry_of_a_customer_whom_no_database_can_hold_is_named(attack: Attack):
    leaf, state = attack.run(
        "SELECT leaf_index, state FROM ledger.sealed JOIN ledger.events ON notification_id = leaf_index + 1"
        " ORDER BY leaf_index OFFSET 40 LIMIT 1"
    )[0]
    bent = orjson.dumps(orjson.loads(state) | {"customer_id": "C-\0-1"})
    attack.run("DELETE FROM ledger.sealed WHERE leaf_index = %s", leaf)
    attack.run(
        "UPDATE ledger.events SET state = %s, leaf_hash = %s WHERE notification_id = %s",
        bent,
        leaf_hash(bent),
        leaf + 1,
    )
    problem = _problem(attack, Missing({}, []))
    assert problem is not None
    assert (problem.table, problem.leaf_index) == ("customer_keys", leaf)
    assert attack.found() == ("events", leaf)
