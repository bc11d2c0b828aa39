"""Holidays for a draft: those of the place, worked out by hand from its laws, and what is no place."""

from datetime import date
from typing import Any

import orjson
import pytest

from deploy import cli
from deploy.holidays import UnknownPlace, public_holidays
from ledger.domain.policies import CalendarRules

# Easter Sunday of 2026 is 5 April: Friday before it, Monday after it, Ascension 39 days later, Whit Monday 50.
BERLIN = [
    "2026-01-01",
    "2026-03-08",
    "2026-04-03",
    "2026-04-06",
    "2026-05-01",
    "2026-05-14",
    "2026-05-25",
    "2026-10-03",
    "2026-12-25",
    "2026-12-26",
]


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["promise-ledger", "policy", "holidays", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def test_the_days_of_a_place_fit_into_a_draft(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, monkeypatch, "DE", "--subdivision", "BE", "--years", "2026", "--json")
    assert (code, orjson.loads(out)) == (0, {"holidays": BERLIN, "covers_until": "2026-12-31"})
    rules: dict[str, Any] = {"calendar_id": "de", "time_zone": "Europe/Berlin", "hours": ["mon 09:00-17:00"]}
    assert CalendarRules.model_validate_json(orjson.dumps(rules | orjson.loads(out))).holidays == tuple(BERLIN)
    assert "2026-04-03 Fri  Good Friday" in said(capsys, monkeypatch, "DE", "--years", "2026-2027")[1]


def test_a_subdivision_has_days_of_its_own_and_a_weekend_its_substitute() -> None:
    assert {each.day for each in public_holidays("DE", None, [2026])} == {
        date.fromisoformat(each) for each in BERLIN if each != "2026-03-08"
    }
    # Boxing Day of 2026 is a Saturday: Monday the 28th is free in England instead
    assert date(2026, 12, 28) in {each.day for each in public_holidays("GB", "ENG", [2026])}


@pytest.mark.parametrize(
    "arguments",
    [
        ("XX", "--years", "2026"),
        ("DE", "--subdivision", "XX", "--years", "2026"),
        ("DE", "--years", "next"),
        ("DE", "--years", "2028-2026"),
        ("DE", "--years", "2026-2046"),
        ("DE", "--years", "0"),
        ("DE",),
    ],
    ids=" ".join,
)
def test_what_is_no_place_or_no_year(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    code, out, _ = said(capsys, monkeypatch, *arguments)
    assert (code, out) == (2, "")


def test_years_that_nothing_is_known_of() -> None:
    with pytest.raises(UnknownPlace, match="of 1500 no holidays of DE are known"):
        public_holidays("DE", None, [1500])
