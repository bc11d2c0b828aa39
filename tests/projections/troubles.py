"""Problems as the tests of reports tell of them."""

from typing import Any

from tests.projections.world import World, at


def tell(world: World, command: str, occurred_at: float, **data: Any) -> None:
    assert world.tell(command, occurred_at, **data) == "recorded", command


def detect(world: World, problem_id: str, occurred_at: float, *affected: str, **data: Any) -> None:
    terms = {"known_since": at(occurred_at), "detected_by": "us", "summary": "It leaks.", "severity": 2, "owner": "u-1"}
    tell(world, "problem.detect", occurred_at, problem_id=problem_id, affected=list(affected), **terms | data)


def disclosure(problem_id: str, customer_id: str, disclosure_id: str) -> dict[str, Any]:
    said = {"text": "It leaks.", "owner": "u-1", "apology": True, "channel": "phone", "basis": "known"}
    about = {"problem_id": problem_id}
    return {"disclosure_id": disclosure_id, "customer_id": customer_id, "about": about, "solution_ref": "S-1", **said}
