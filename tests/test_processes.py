"""Processes for further cores."""

import os
from collections.abc import Iterator

from ledger.processes import answer, answering, started


def main() -> None:
    """In the new process."""
    answering(_its_group)


def _its_group(task: str) -> Iterator[tuple[str, int]]:
    yield task, os.getpgrp()


def test_ctrl_c_on_the_terminal_is_not_theirs_to_hear() -> None:
    """A terminal tells all of its process group, also one that has only begun to start and would print a traceback."""
    with started(__name__, "asked") as pipe:
        task, group = answer(pipe)
    assert task == "asked"
    assert group != os.getpgrp()
