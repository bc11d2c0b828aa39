"""Every parser, fuzzed with guidance by coverage (atheris) for some seconds, always from the same seed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

RUNS, SECONDS = 100_000, 10


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has wheels for CPython on x86-64 Linux alone")
def test_no_parser_gives_way_to_a_fuzzer(tmp_path: Path):
    options = [
        f"-runs={RUNS}",
        f"-max_total_time={SECONDS}",
        "-seed=1",
        "-max_len=2048",
        f"-artifact_prefix={tmp_path}/",
    ]
    (corpus := tmp_path / "corpus").mkdir()
    fuzzed = subprocess.run(
        [sys.executable, "-m", "tests.tlog.fuzz", corpus, *options],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = [path.read_bytes() for path in tmp_path.glob("*-*")]
    assert (fuzzed.returncode, found) == (0, []), fuzzed.stdout[-3000:] + fuzzed.stderr[-3000:]
    done = [line.split() for line in fuzzed.stderr.splitlines() if line.startswith("Done ")]
    assert int(done[0][1]) > 1_000, "it stopped before it had begun"
