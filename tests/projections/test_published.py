"""Which policy a promise was made under: the one that took effect last, of those that the log had by then."""

from datetime import datetime

from ledger.domain.policies import PolicyPublished, Times
from projections.published import Published, warn_percents
from tests.domain.story import day, made, on, promise_after
from tests.projections.findings.story import entry

PROMISE = promise_after(made())


def publish(published: Published, leaf_index: int, effective: int, percent: int, policy_id: str = "default") -> None:
    hours = dict.fromkeys(Times.model_fields, 24)
    names = {"policy_id": policy_id, "approver": "u-2", "effective_from": day(effective), "tzdata_version": "2025b"}
    event = PolicyPublished(**names, **hours, warn_percents=(percent,))
    published.add(entry(leaf_index, on(1, event), day(1)))


def percents(published: Published, made_at: datetime, made_leaf_index: int = 100) -> tuple[int, ...]:
    return warn_percents(published.policy_of(PROMISE._replace(made_at=made_at), made_leaf_index))


def test_of_several_policies_the_one_that_took_effect_last_counts() -> None:
    published = Published()
    assert percents(published, day(20)) == (75,)
    publish(published, 0, effective=10, percent=10)
    publish(published, 1, effective=5, percent=20, policy_id="other")
    publish(published, 2, effective=15, percent=30, policy_id="other")
    publish(published, 3, effective=15, percent=40, policy_id="third")
    answers = [percents(published, day(number)) for number in (4, 5, 9, 10, 14, 15)]
    assert answers == [(75,), (20,), (20,), (10,), (10,), (40,)]


def test_what_was_published_after_a_promise_was_written_down_is_not_its_policy() -> None:
    published = Published()
    publish(published, 7, effective=5, percent=20)
    assert percents(published, day(6), made_leaf_index=6) == (75,)
    assert percents(published, day(6), made_leaf_index=8) == (20,)
