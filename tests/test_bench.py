"""`python -m tests.bench`: what it measures is for people to read; here is only how it is asked."""

import subprocess
import sys


def test_a_measurement_that_there_is_not_is_said_with_those_that_there_are() -> None:
    asked = subprocess.run([sys.executable, "-m", "tests.bench", "apend"], capture_output=True, text=True, timeout=60)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr == "there is no measurement apend: append, queue, checks, reading\n"
