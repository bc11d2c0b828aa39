"""What a customer said reaches an auditor's terminal as words, whatever is in it."""

import io
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Console

from deploy.tables import cell, counted, show

SAID = "Thanks.\x1b[2J\x1b]0;title\x07\x9b31m \u202eeno tog I\u202c\nSecond line \u00e9\U0001f692"


def test_no_text_steers_the_terminal_or_turns_its_neighbours_round() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=160, force_terminal=True, color_system="truecolor", markup=False, emoji=False)
    show(console, "what happened", [{"text": SAID}, {"text": (SAID,)}, {"text": {"member": SAID}}], ["text"])
    said = shown.getvalue()
    for character in "\x07\x9b\u202e\u202c":
        assert character not in said
    assert "\x1b[2J" not in said
    assert "\x1b]" not in said
    assert said.count(r"Thanks.\x1b[2J\x1b]0;title\x07\x9b31m \u202eeno tog I\u202c") == 3
    assert said.count("Second line \u00e9\U0001f692") == 3


def test_a_moment_is_in_utc_whatever_time_zone_the_database_answers_in() -> None:
    assert str(cell(datetime(2026, 7, 1, 1, 30, tzinfo=ZoneInfo("Europe/Berlin")))) == "2026-06-30 23:30Z"


def test_one_of_a_kind_is_no_plural() -> None:
    assert [counted(number, "data key") for number in (0, 1, 2)] == ["0 data keys", "1 data key", "2 data keys"]
