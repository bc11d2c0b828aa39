"""The lists of the console: each a report that the command line has too, with the columns that a page shows."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from projections import queries
from projections.queries import Report


class Listing(NamedTuple):
    """One list. `filters`: the columns of which one value may be asked for."""

    title: str
    about: str
    report: Report
    columns: tuple[str, ...]
    filters: tuple[str, ...]


LISTS: Final[Mapping[str, Listing]] = {
    "outstanding": Listing(
        "Outstanding promises",
        "What we still owe, soonest due first.",
        queries.OUTSTANDING,
        ("promise_id", "customer_id", "kind", "text", "owner", "due_at", "standing", "fulfilment", "timeliness"),
        ("customer_id", "owner", "kind", "timeliness", "standing", "fulfilment", "case_id"),
    ),
    "followups": Listing(
        "Follow-ups due",
        "Whom we still have to go back to, soonest due first.",
        queries.FOLLOWUPS,
        (
            *("followup_id", "customer_id", "owner", "due_at", "overdue", "attempts"),
            *("about_promise_id", "about_concern_id", "about_problem_id", "about_disclosure_id"),
        ),
        ("customer_id", "owner", "case_id"),
    ),
    "falsehoods": Listing(
        "Not true",
        "What customers were told that was declared false, or rests on what was.",
        queries.FALSEHOODS,
        (
            "disclosure_id",
            "customer_id",
            "text",
            "made_by",
            "made_at",
            "known_false_since",
            "contaminated",
            "corrected_by",
        ),
        ("customer_id", "owner", "made_by", "case_id"),
    ),
    "findings": Listing(
        "Findings",
        "Rules of honest dealing that are broken, gravest first, each with the event that proves it.",
        queries.FINDINGS,
        ("code", "severity", "subject", "customer_id", "opened_at", "opened_by", "detail"),
        ("code", "severity", "customer_id", "case_id"),
    ),
    "problems": Listing(
        "Problems",
        "What is wrong on our side, and who of the affected knows of it from us.",
        queries.PROBLEMS,
        (
            *("problem_id", "owner", "severity", "state", "known_since", "text"),
            *("affected", "told", "withheld", "undisclosed", "verified"),
        ),
        ("owner", "state", "case_id"),
    ),
    "concerns": Listing(
        "Concerns",
        "What customers raised, and how far we have come with it.",
        queries.CONCERNS,
        ("concern_id", "customer_id", "problem_id", "state", "raised_at", "acknowledged_at", "addressed_at", "text"),
        ("customer_id", "problem_id", "state", "case_id"),
    ),
    "outages": Listing(
        "Outages",
        "Tools that were declared down, and the lists that are worked off afterwards.",
        queries.OUTAGES,
        (
            "outage_id",
            "tool",
            "declared_at",
            "ended_at",
            "notes",
            "notes_to_clear",
            "customers_to_follow_up",
            "list_done",
        ),
        ("tool",),
    ),
}


class Section(NamedTuple):
    """A list on the page of a thing: the rows of a report in which `column` has the thing's id."""

    title: str
    report: Report
    column: str
    columns: tuple[str, ...]


class Thing(NamedTuple):
    """What has a state of its own: the report with one row for each, and what else belongs to its page."""

    report: Report
    sections: tuple[Section, ...] = ()


_DISCLOSURES: Final = (
    "disclosure_id",
    "text",
    "made_by",
    "made_at",
    "known_false_since",
    "contaminated",
    "corrected_by",
)

THINGS: Final[Mapping[str, Thing]] = {
    "promise": Thing(queries.PROMISES),
    "disclosure": Thing(queries.DISCLOSURES),
    "problem": Thing(
        queries.PROBLEMS,
        (
            Section(
                "Whom it touches",
                queries.AFFECTED_CUSTOMERS,
                "problem_id",
                ("customer_id", "known_since", "disclosure", "told_at", "withheld_until", "verified_at", "failed_at"),
            ),
            Section("Concerns about it", queries.CONCERNS, "problem_id", LISTS["concerns"].columns),
        ),
    ),
    "concern": Thing(queries.CONCERNS),
    "followup": Thing(queries.FOLLOWUPS._replace(view="followups")),
    "outage": Thing(
        queries.OUTAGES,
        (
            Section(
                "Notes taken meanwhile",
                queries.OUTAGE_NOTES,
                "outage_id",
                (
                    "capture_id",
                    "customer_id",
                    "captured_at",
                    "taken_by",
                    "text",
                    "cleared_at",
                    "became",
                    "followed_up_at",
                ),
            ),
        ),
    ),
}
CUSTOMER: Final = (
    Section("Outstanding promises", queries.OUTSTANDING, "customer_id", LISTS["outstanding"].columns),
    Section("Follow-ups due", queries.FOLLOWUPS, "customer_id", LISTS["followups"].columns),
    Section("Findings", queries.FINDINGS, "customer_id", LISTS["findings"].columns),
    Section("What they were told", queries.DISCLOSURES, "customer_id", _DISCLOSURES),
    Section("Concerns", queries.CONCERNS, "customer_id", LISTS["concerns"].columns),
)
