"""subject.erase, and what holds have to do with it."""

from typing import Any

import pytest

from ledger.domain.erasures import (
    CompleteErasure,
    EraseSubject,
    ErasureCompleted,
    ErasureDeferred,
    ErasureRequested,
)
from ledger.domain.holds import HoldLifted, HoldPlaced, LiftHold, PlaceHold
from ledger.domain.key_wraps import KeysRewrapped, RewrapKeys
from tests.domain.story import day, given, on, order

ERASE = order(EraseSubject, customer_id="C-1", grounds="art-17-1-a")
REQUESTED = ErasureRequested(customer_id="C-1", grounds="art-17-1-a")
DEFERRED = ErasureDeferred(customer_id="C-1", grounds="art-17-1-a", holds=("H-1", "H-2"))
DONE: dict[str, Any] = {"customer_id": "C-1", "through_leaf": 7, "keys": 1, "texts": 3, "letters": 0}
COMPLETE, COMPLETED = order(CompleteErasure, **DONE), ErasureCompleted(**DONE)


def hold(number: int) -> dict[str, Any]:
    return {"hold_id": f"H-{number}", "customer_id": "C-1", "grounds": "case 4 C 12/26", "approver": "u-9"}


def placed(number: int) -> Any:
    return on(2, HoldPlaced(**hold(number)))


def test_an_erasure_is_requested_and_completed() -> None:
    given().when(ERASE).then(REQUESTED).so("erasure:C-1", requested_at=day(5), completed_at=None, version=1)
    done = given(on(5, REQUESTED)).when(order(CompleteErasure, 6, **DONE)).then(COMPLETED)
    done.so("erasure:C-1", requested_at=day(5), completed_at=day(6), version=2)
    assert ERASE.streams() == ("erasure:C-1", "hold:C-1")
    assert COMPLETE.streams() == ("erasure:C-1",)


def test_a_hold_defers_an_erasure_on_record_until_the_last_one_is_lifted() -> None:
    given(placed(2), placed(1)).when(ERASE).then(DEFERRED).so("erasure:C-1", requested_at=None, grounds="art-17-1-a")
    lift, lifted = order(LiftHold, **hold(1)), HoldLifted(**hold(1))
    waiting = (placed(1), placed(2), on(3, DEFERRED))
    given(*waiting).when(lift).then(lifted)
    given(*waiting, on(4, HoldLifted(**hold(2)))).when(lift).then(lifted, REQUESTED)
    given(placed(1)).when(lift).then(lifted)
    given(placed(1), on(3, HoldLifted(**hold(1)))).when(ERASE).then(REQUESTED)


def test_another_hold_may_be_placed_while_an_erasure_is_deferred_and_none_once_it_is_in_effect() -> None:
    place = order(PlaceHold, **hold(3))
    given(placed(1), on(3, DEFERRED)).when(place).then(HoldPlaced(**hold(3)))
    given(on(3, REQUESTED)).when(place).refused("customer-erased", "C-1", "2026-03-03")


@pytest.mark.parametrize(
    ("events", "words"),
    [([DEFERRED], "deferred by a hold"), ([REQUESTED], "on its way"), ([REQUESTED, COMPLETED], "completed")],
)
def test_a_customer_is_erased_once(events: Any, words: str) -> None:
    given(*(on(3, event) for event in events)).when(ERASE).refused("erasure-on-record", "C-1", words)


def test_only_what_is_in_effect_is_completed_and_again_after_a_restore() -> None:
    given().when(COMPLETE).refused("not-allowed", "C-1")
    given(placed(1), on(3, DEFERRED)).when(COMPLETE).refused("not-allowed", "C-1")
    given(on(3, REQUESTED), on(4, COMPLETED)).when(COMPLETE).then(COMPLETED).so("erasure:C-1", version=3)


def test_keys_wrapped_anew_are_on_record_each_time() -> None:
    rewrap, rewrapped = order(RewrapKeys, kek="0f3a"), KeysRewrapped(kek="0f3a")
    given().when(rewrap).then(rewrapped).so("keys:kek", version=1)
    given(on(2, rewrapped)).when(rewrap).then(rewrapped).so("keys:kek", version=2)
    assert rewrap.streams() == (rewrapped.stream,)
