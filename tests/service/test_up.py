"""The supervisor: starts again what dies, ever more slowly, and stops everything."""

from pathlib import Path

import pytest

from deploy.places import SetupError
from deploy.up import LAST_RETRY_SECONDS, STEADY_SECONDS, Watched


class Failing:
    """A part that runs only while told so, and counts its starts."""

    name = "part"
    log = Path("part.log")

    def __init__(self) -> None:
        self.alive = True
        self.starts = 0
        self.refusal: SetupError | None = None

    def start(self) -> str:
        self.starts += 1
        if self.refusal:
            raise self.refusal
        self.alive = True
        return self.name

    def running(self) -> bool:
        return self.alive

    def stop(self) -> None:
        self.alive = False


def delay_until_started_again(watched: Watched, part: Failing, now: float) -> float:
    part.alive, starts, begin = False, part.starts, now
    while part.starts == starts:
        watched.look(now)
        now += 0.1
    return now - begin


def test_a_part_that_keeps_dying_is_started_ever_more_slowly_up_to_a_bound() -> None:
    part = Failing()
    watched, now, delays = Watched(part, started_at=0.0), 1.0, []
    for _ in range(8):
        delays.append(delay_until_started_again(watched, part, now))
        now += delays[-1]
    assert delays == sorted(delays)
    assert delays[0] < 1.0
    assert LAST_RETRY_SECONDS <= delays[-1] < LAST_RETRY_SECONDS + 1


def test_a_part_that_ran_steadily_is_started_again_at_once() -> None:
    part = Failing()
    watched, now = Watched(part, started_at=0.0), 1.0
    for _ in range(8):
        now += delay_until_started_again(watched, part, now)
    assert delay_until_started_again(watched, part, now + STEADY_SECONDS + 1) < 1.0


def test_a_part_that_cannot_start_is_tried_again_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    part = Failing()
    part.refusal = SetupError("Port 4222 is taken.")
    watched = Watched(part, started_at=0.0)
    now = 1.0 + delay_until_started_again(watched, part, 1.0)
    assert "Port 4222 is taken." in capsys.readouterr().err
    part.refusal = None
    delay_until_started_again(watched, part, now)
    assert part.running()
