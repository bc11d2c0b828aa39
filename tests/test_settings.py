"""Settings from the environment: what cannot be read is one sentence, and never repeated."""

import pytest

from deploy import cli
from ledger.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("LEDGER_HTTP_PORT", "abc", "LEDGER_HTTP_PORT cannot be read: Input should be a valid integer"),
        ("LEDGER_HTTP_PORT", "70000", "LEDGER_HTTP_PORT cannot be read: Input should be less than or equal to 65535"),
        ("LEDGER_ORIGIN", "two words", "LEDGER_ORIGIN cannot be read: String should match pattern"),
    ],
)
def test_a_setting_that_cannot_be_read_is_one_sentence_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.argv", ["promise-ledger", "verify"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    err = " ".join(capsys.readouterr().err.split())
    assert (end.value.code, sentence in err, value in err) == (2, True, False)


@pytest.mark.parametrize(
    "name", ["database_url", "eraser_url", "broker_url", "witness_policy", "timestamp_url", "timestamp_roots"]
)
def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"LEDGER_{name.upper()}", "")
    assert getattr(Settings(), name) is None
