"""One value as a page shows it: moments in UTC, ids as links to what they name, words apart from everything else."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup, escape

from projections.findings.registry import FINDINGS
from projections.web.console.asked import Asked

NAMED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("promise_id", "about_promise_id", "promises", "steps"), "promise"),
    **dict.fromkeys(("customer_id", "customers", "affected"), "customer"),
    **dict.fromkeys(
        ("disclosure_id", "about_disclosure_id", "based_on", "corrects", "corrected_by", "falsehood"), "disclosure"
    ),
    **dict.fromkeys(("problem_id", "about_problem_id"), "problem"),
    **dict.fromkeys(("concern_id", "about_concern_id"), "concern"),
    "followup_id": "followup",
    "outage_id": "outage",
    "offering_id": "offering",
    "withholding_id": "withholding",
}
"""What an id under such a name is the id of."""
STREAMS: Final = ("stream", "subject")
EVENTS: Final = ("leaf_index", "made_leaf_index", "opened_by", "closed_by")
LINKED: Final = frozenset({*NAMED, *STREAMS, *EVENTS, "code"})
"""Whatever is a link wherever it stands."""
WORDS: Final = ("text", "condition_text")
WITHHOLDINGS: Final = ("disclosure.withheld", "problem.customer_withheld")
"""Events whose `disclosure_id` is a withholding: the disclosure that is made in the end may bear the same id."""
_AN_ALARM: Final = frozenset({"overdue", "contaminated", "repeated", "late_against_original", "known_false_since"})
"""What is bad news where it is so at all."""
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_LONGEST_NAME: Final = 48
_SMALLEST: Final = frozenset({"amount", "authority_limit"})
"""Money: a number of the smallest unit of its currency."""
_GOOD: Final = frozenset({"verified", "kept", "on_time", "confirmed", "ok"})
"""Not `told`: what somebody was told may be untrue."""
_WATCH: Final = frozenset({"warned", "claimed", "medium", "late", "withheld", "suspended"})
_BAD: Final = frozenset({"overdue", "broken", "high", "undisclosed", "failed", "owed", "failing"})


def cell(name: str, value: Any, asked: Asked) -> Markup:
    """The value of a column or member `name`; whatever it says is text and never markup."""
    if value is None or value in ([], {}, ()):
        return Markup("")
    if name in _AN_ALARM and value is not False:
        return Markup('<span class="bad">{}</span>').format(_plain(name, value, asked))
    return _plain(name, value, asked)


def _plain(name: str, value: Any, asked: Asked) -> Markup:
    match value:
        case bool():
            return Markup("yes" if value else "no")
        case datetime():
            return when(value)
        case dict():
            return _members(name, value, asked)
        case list() | tuple():
            return Markup(", ").join(cell(name, item, asked) for item in value)
        case float():
            return escape(f"{value:g}")
    text = str(value)
    if name in EVENTS:
        return link(f"/console/event/{text}", text)  # the same as of any moment
    if name in STREAMS:
        return link(asked.address(f"stream/{text}"), text)
    if isinstance(value, str) and (kind := NAMED.get(name)) is not None:  # a number counts such things
        return link(asked.address(f"stream/{kind}:{text}"), text)
    if name == "code" and text in FINDINGS:
        return link(asked.address("list/findings", code=text), text, FINDINGS[text].rule)
    if name in WORDS:
        return words(text)
    return _moment(text) or _toned(text)


def _members(name: str, value: Mapping[str, Any], asked: Asked) -> Markup:
    """What an entry says besides its words, or the words by their names."""
    said = [(key, words(item) if name == "words" else cell(key, item, asked)) for key, item in value.items()]
    rows = [Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(label(key), item) for key, item in said if item]
    return Markup('<dl class="inside">{}</dl>').format(Markup("").join(rows))


def facts(topic: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an event of that type says, each id under the name of what it is the id of."""
    if topic not in WITHHOLDINGS:
        return data
    return {"withholding_id" if name == "disclosure_id" else name: value for name, value in data.items()}


def words(text: str) -> Markup:
    """What somebody said, in a direction of its own: nothing in it turns what stands around it."""
    return Markup("<q><bdi>{}</bdi></q>").format(text)


def when(moment: datetime) -> Markup:
    """To the minute; to the microsecond where the pointer rests."""
    at = moment.astimezone(UTC)
    return Markup('<time datetime="{0}" title="{0}">{1} UTC</time>').format(
        at.isoformat().replace("+00:00", "Z"), f"{at:%Y-%m-%d %H:%M}"
    )


def _moment(text: str) -> Markup | None:
    """The moment that `text` spells; None where it is none: an id may read `2026-99-99T99:99:99Z`."""
    try:
        return when(datetime.fromisoformat(text)) if _MOMENT.fullmatch(text) else None
    except ValueError:
        return None


def label(name: str) -> str:
    """A column's name as people read it."""
    if name in _SMALLEST:
        return f"{name.replace('_', ' ')} in the smallest unit (cents)"
    return name.removesuffix("_id").replace("_", " ") if name.endswith("_id") else name.replace("_", " ")


def link(address: str, shown: str, about: str | None = None) -> Markup:
    """`shown` leads to `address`; `about` is said where the pointer rests."""
    title = Markup("") if about is None else Markup(' title="{}"').format(about)
    return Markup('<a href="{}"{}>{}</a>').format(address, title, shown)


def _toned(text: str) -> Markup:
    for tone, values in (("good", _GOOD), ("watch", _WATCH), ("bad", _BAD)):
        if text in values:
            return Markup('<span class="{}">{}</span>').format(tone, text.replace("_", " "))
    whole = Markup(' class="whole"') if " " not in text and len(text) <= _LONGEST_NAME else Markup("")
    return Markup("<bdi{}>{}</bdi>").format(whole, text)
