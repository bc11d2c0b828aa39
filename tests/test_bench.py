"""`python -m tests.bench`: what it measures is for people to read; here is only how it is asked."""

import runpy

import pytest


def test_a_measurement_that_there_is_not_is_said_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "append", "apend"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("tests.bench", run_name="__main__")
    assert end.value.code == "there is no measurement apend: machine, append, queue, checks, reading, lag, growth"
    assert capsys.readouterr().out == ""
