"""`verify --rules` against the owner of the database, who hides or bends a row while the honest service decides."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import psycopg
import pytest

from consumers.cloudevents import parse
from deploy.story import commands
from ledger.app import Submission
from ledger.receipts import Refusal
from ledger.storage.guard import read_guard
from ledger.tlog.merkle import leaf_hash
from ledger.verification.log import verify
from ledger.verification.report import Wrong, connect
from ledger.verification.rules import Replay
from tests.projections.findings.test_report import any_story
from tests.projections.world import World
from tests.storage.log import NOON, Log, copied, copy_directory, make, submission, tell, told

PROMISE = {"promise_id": "P-1"}
PROBLEM = {"problem_id": "X-1"}
LATER = NOON + timedelta(days=2)
PAST = (
    make(1),
    submission("promise.suspend", "s-1", **PROMISE, reason="away", review_at=LATER),
    submission("promise.read_back", "r-1", **PROMISE, confirmed=True),
    make(2),
    submission("promise.release", "e-2", promise_id="P-2", evidence="letter-1"),
    make(3),
    submission(
        "problem.detect",
        "x-1",
        **PROBLEM,
        known_since=NOON,
        detected_by="us",
        summary="it stands",
        severity=2,
        affected=["C-3"],
        owner="u-1",
    ),
    tell(3, about=PROBLEM),
    submission("concern.raise", "q-1", **PROBLEM, concern_id="Q-1", customer_id="C-3", text="who pays?"),
    submission("problem.record_cause", "x-2", **PROBLEM, cause_class="van", control="within", basis="assumed"),
    make(5, customer_id="C-5"),
    submission("subject.erase", "e-5", customer_id="C-5", grounds="art-17"),
)
"""What happened before the attack; then comes so much that none of it is at the right edge of the tree."""


@pytest.fixture(scope="module")
def past(postgres_url: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """The log as it is before the attack."""
    with copied(urlsplit(postgres_url)._replace(path=f"/{_template}").geturl(), "ledger_rules") as url:
        log = Log(url, tmp_path_factory.mktemp("rules"))
        with log.open() as ledger:
            told(ledger, *PAST)
            told(ledger, *(make(number, customer_id="C-0") for number in range(100, 400)))
        log.check_clean(len(log.states()))
        yield log


@contextmanager
def _bent(log: Log, bend: str) -> Iterator[None]:
    """The events are bent for a while, by an owner whom no trigger stops; then they are as they were."""
    with psycopg.connect(log.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("CREATE TABLE public.kept AS TABLE ledger.events")
        owner.execute(bend.encode())
        yield
        owner.execute("DELETE FROM ledger.events WHERE notification_id <= (SELECT max(notification_id) FROM kept)")
        owner.execute("INSERT INTO ledger.events TABLE public.kept")


@pytest.fixture
def attacked(past: Log, data_dir: Path) -> Iterator[Log]:
    """A copy of the log with its keys and guard."""
    copy_directory(past.settings.data_dir, data_dir)
    with copied(past.url, "ledger_rules_attacked") as url:
        yield Log(url, data_dir)


@pytest.mark.parametrize(
    ("bend", "command", "stream", "sentence"),
    [
        (
            "DELETE FROM ledger.events WHERE originator_id = 'promise:P-1' AND originator_version = 2",
            submission("promise.suspend", "s-2", **PROMISE, reason="away", review_at=LATER),
            "promise:P-1",
            "refuse promise.suspend here (not-allowed): Promise P-1 is suspended with fulfilment none",
        ),
        (
            "UPDATE ledger.events SET topic = 'promise.claimed_kept' WHERE topic = 'promise.released'",
            submission("promise.verify", "v-2", promise_id="P-2", verified_by="C-2"),
            "promise:P-2",
            "refuse promise.verify here (not-allowed): Promise P-2 is ended (released)",
        ),
        (
            "DELETE FROM ledger.events WHERE topic = 'problem.concern_opened'",
            submission("problem.resolve", "x-3", **PROBLEM, root_cause_addressed=False),
            "problem:X-1",
            "refuse problem.resolve here (concerns-open): Problem X-1 has open concerns (Q-1)",
        ),
        (
            "UPDATE ledger.events SET originator_id = 'disclosure:D-9' WHERE originator_id = 'disclosure:D-3'",
            submission("promise.reschedule", "t-3", promise_id="P-3", new_due_at=LATER, disclosure_id="D-9"),
            "promise:P-3",
            "(undisclosed-reschedule): There is no disclosure D-9 to customer C-3",
        ),
        (
            "DELETE FROM ledger.events WHERE originator_id = 'erasure:C-5'",
            make(6, customer_id="C-5"),
            "promise:P-6",
            "The data of customer C-5 was erased on 2026-03-01",
        ),
    ],
    ids=["suspended twice", "kept after its release", "resolved over a concern", "never told", "words after erasure"],
)
def test_what_was_decided_over_a_hidden_or_bent_row_is_found_by_its_rule(
    attacked: Log, bend: str, command: Submission, stream: str, sentence: str
):
    size = len(attacked.states())
    with _bent(attacked, bend), attacked.open() as ledger:
        assert told(ledger, command)[0]["status"] == "recorded"
    assert attacked.verify(rules=False).problem is None, "every hash is right"
    report = attacked.verify()
    assert report.problem is not None
    assert (report.problem.table, report.problem.leaf_index, report.problem.stream) == ("events", size, stream)
    assert sentence in report.problem.message
    assert report.problem.message.endswith("what the service saw when it decided that was not what the log says")


def test_what_happens_to_a_disclosure_that_was_never_made_leaves_a_gap(attacked: Log):
    bend = "UPDATE ledger.events SET originator_id = 'disclosure:D-9' WHERE originator_id = 'disclosure:D-3'"
    with _bent(attacked, bend), attacked.open() as ledger:
        falsify = submission(
            "disclosure.falsify", "f-9", disclosure_id="D-9", known_since=NOON, why="no van was booked"
        )
        assert told(ledger, falsify)[0]["status"] == "recorded"
    problem = attacked.verify(rules=False).problem
    assert problem is not None
    assert (problem.stream, problem.message) == ("disclosure:D-9", "the versions of this stream have a gap")


def test_the_first_broken_rule_is_named_and_only_of_a_log_that_is_as_it_was_signed(attacked: Log):
    size = len(attacked.states())
    with _bent(attacked, "DELETE FROM ledger.events WHERE topic = 'promise.suspended'"), attacked.open() as ledger:
        for number in (2, 3):
            suspend = submission("promise.suspend", f"s-{number}", **PROMISE, reason="away", review_at=LATER)
            resume = submission("promise.resume", f"r-{number}", **PROMISE)
            assert [answer["status"] for answer in told(ledger, suspend, resume)] == ["recorded", "recorded"]
    problem = attacked.verify().problem
    assert problem is not None
    assert problem.leaf_index == size
    with psycopg.connect(attacked.url) as owner:
        owner.execute("UPDATE ledger.head SET recorded_at = recorded_at + interval '1 hour'")
    problem = attacked.verify().problem
    assert problem is not None
    assert problem.table == "head"


@pytest.mark.parametrize(
    ("written", "instead", "sentence"),
    [
        ('"version":3', '"version":4', "this is event 4 of its stream, and 3 was to come"),
        ('"stream":"promise:P-1"', '"stream":"promise:P-2"', "an event of promise:P-1 stands in promise:P-2"),
        ('"confirmed":true', '"confirmed":"so"', "is not an entry of this ledger"),
    ],
    ids=["version", "stream", "no entry"],
)
def test_an_entry_out_of_place_is_found_without_the_columns_as_well(
    attacked: Log, written: str, instead: str, sentence: str
):
    with psycopg.connect(attacked.url) as owner:
        owner.execute("SET session_replication_role = replica")
        (leaf,) = owner.execute(
            "UPDATE ledger.events SET state = convert_to(replace(convert_from(state, 'UTF8'), %s, %s), 'UTF8')"
            " WHERE topic = 'promise.read_back' RETURNING notification_id - 1",
            (written, instead),
        ).fetchall()
    with connect(attacked.url) as connection:
        replay = Replay(connection)
        replay.take(0, [leaf_hash(state) for state in attacked.states()])
        with pytest.raises(Wrong, match=sentence) as found:
            replay.end()
    assert found.value.problem.leaf_index == leaf[0]


@pytest.mark.parametrize("leaf", [0, 9_999], ids=["another", "none"])
def test_the_bytes_that_are_decided_again_are_those_that_were_hashed(past: Log, leaf: int):
    with connect(past.url) as connection:
        replay = Replay(connection)
        replay.take(leaf, [bytes(32)])
        with pytest.raises(Wrong, match="asked a second time") as found:
            replay.end()
    assert found.value.problem.leaf_index == leaf


def test_an_honest_history_is_never_objected_to(database: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    """The story of `make run` and one told at random, with every command that it holds; half of them are refused."""
    monkeypatch.setattr("ledger.verification.leaves.RANGE", 13)  # so that commands go over the borders
    world = World(database, data_dir)
    happened = [parse({}, orjson.dumps(event)) for event in commands(NOON)]
    answered = [*world.ledger.submit(happened), *world.ledger.submit(any_story(world, 5, 300))]
    refused = sum(isinstance(each, Refusal) for each in answered)
    assert 60 < refused < len(answered) - 100
    report = verify(
        database,
        vkey=world.ledger.vkey,
        guard=lambda: read_guard(world.settings.guard_path),
        key_encryption_key=None,
        rules=True,
    )
    assert report.problem is None, report.problem
    assert report.rules_replayed
    world.close()
