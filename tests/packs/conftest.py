"""A log with a story, and packs of it, made once for all tests of packs."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import _copy, new_data_dir, remove
from tests.packs.making import FORMULA, MARKUP, Packs, say
from tests.storage.log import NOON, Log, claim, make, submission, tell, told


@pytest.fixture(scope="package")
def log(postgres_url: str, _readable_template: str) -> Iterator[Log]:
    """A log with a story: a case, an outage of many customers, a refusal, an erased customer, a falsehood that others
    rest on."""
    directory = new_data_dir()
    with _copy(postgres_url, _readable_template) as url:
        log = Log(url, directory)
        ledger = log.open()
        case = {"case_id": "case-77"}
        told(ledger, make(1, text=FORMULA, **case), make(2, text=MARKUP), make(3), tell(1, **case))
        log.now += timedelta(hours=6)
        outage = {"outage_id": "U-1"}
        told(
            ledger,
            submission("outage.declare", "u-1", tool="crm", **outage),
            *(
                submission(
                    "note.take",
                    f"n-{number}",
                    capture_id=f"N-{number}",
                    captured_at=NOON,
                    customer_id=f"C-{number}",
                    text=f"note {number}",
                    read_back=True,
                    **outage,
                    **more,
                )
                for number, more in ((1, case), (3, {}))
            ),
            claim(9),
        )
        log.now += timedelta(days=3)
        about = {"customer_id": "C-1", "about": {"promise_id": "P-1"}}
        due = NOON + timedelta(days=5)
        told(
            ledger,
            submission("followup.schedule", "f-1", followup_id="F-1", due_at=due, owner="u-1", **about),
            claim(1, text="-done"),
            submission("promise.dispute", "x-1", promise_id="P-1", text="No.", occurred_at=NOON + timedelta(days=2)),
            submission("promise.claim_kept", "k-2", promise_id="P-2", text="Done."),
            submission("subject.erase", "e-2", customer_id="C-2", grounds="art-17-1-a"),
            submission(
                "subject.complete_erasure", "e-3", customer_id="C-2", through_leaf=13, keys=1, texts=2, letters=0
            ),
            say(3, customer_id="C-3", about={"promise_id": "P-3"}),
            say(4, customer_id="C-1", about={"promise_id": "P-1"}, based_on=["D-3"]),
            submission("disclosure.falsify", "x-3", disclosure_id="D-3", known_since=NOON, why="It was made up."),
            submission(
                "problem.detect",
                "p-1",
                problem_id="X-1",
                known_since=NOON,
                detected_by="us",
                severity=2,
                affected=["C-3", "C-1"],
                owner="u-1",
                summary="The lorry stands still.",
            ),
        )
        ledger.close()
        log._opened.clear()
        yield log
    remove(directory)


@pytest.fixture(scope="package")
def packs(log: Log, tmp_path_factory: pytest.TempPathFactory) -> Packs:
    return Packs(log, tmp_path_factory.mktemp("packs"))


@pytest.fixture
def case(packs: Packs, tmp_path: Path) -> Path:
    """A pack of case-77: 6 of 19 events, with proofs."""
    return packs.copy(tmp_path / "case", "case", "case-77")


@pytest.fixture
def away(tmp_path: Path) -> Path:
    return tmp_path / "pack"
