"""`promise-ledger trail` while keys are replaced, and over rows that somebody damaged."""

import sys

import pytest

from deploy import cli
from ledger.storage import keys
from tests.projections.world import World


@pytest.fixture
def told(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world.make(1)
    world.for_commands(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["promise-ledger", "trail", "promise:P-1"])
    return world


def said(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main()
    found = capsys.readouterr()
    return int(end.value.code or 0), found.out + found.err


def test_words_are_shown_while_the_key_is_replaced(told: World, capsys: pytest.CaptureFixture[str]) -> None:
    keys.replace_kek(told.secrets)  # and nothing is wrapped anew yet
    code, output = said(capsys)
    assert code == 0
    assert "The router 1 comes." in output


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            "UPDATE ledger.sealed SET ciphertext = set_byte(ciphertext, 0, 1 + get_byte(ciphertext, 0) % 255)",
            "not open",
        ),
        ("UPDATE ledger.events SET state = 'x'", "leaf 0 (promise.made) is not an entry of this ledger"),
    ],
)
def test_what_was_damaged_is_one_sentence(
    told: World, damage: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told.tamper(damage)
    code, output = said(capsys)
    assert code == 1
    assert sentence in output
    assert len(output.splitlines()) == 1
