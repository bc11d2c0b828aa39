"""The lists of the console: each a report that the command line has too, with the columns that a page shows."""

from collections.abc import Mapping
from typing import Final, NamedTuple, get_args

from ledger.domain.lifecycle import EndedAs, Fulfilment, Standing
from ledger.domain.promise_messages import Kind
from ledger.domain.promise_state import Timeliness
from projections import queries
from projections.findings.registry import FINDINGS
from projections.queries import Report

Values = tuple[str, ...]
ANY: Final[Values] = ()


class Listing(NamedTuple):
    """One list. `filters`: the columns of which one value may be asked for, and the values that there are."""

    title: str
    about: str
    report: Report
    columns: tuple[str, ...]
    filters: Mapping[str, Values]


_PROMISE_AXES: Final[Mapping[str, Values]] = {
    "kind": get_args(Kind),
    "timeliness": get_args(Timeliness),
    "standing": get_args(Standing),
    "fulfilment": get_args(Fulfilment),
}

_DISCLOSURES: Final = (
    *("disclosure_id", "customer_id", "text", "made_by", "made_at", "channel"),
    *("known_false_since", "contaminated", "corrected_by"),
)

LISTS: Final[Mapping[str, Listing]] = {
    "outstanding": Listing(
        "Outstanding promises",
        "What we still owe, soonest due first.",
        queries.OUTSTANDING,
        ("promise_id", "due_at", "timeliness", "owner", "customer_id", "kind", "text", "standing", "fulfilment"),
        {"customer_id": ANY, "owner": ANY, "case_id": ANY, **_PROMISE_AXES},
    ),
    "promises": Listing(
        "All promises",
        "Whatever was promised, soonest due first, and how it ended: kept late, broken and superseded ones too.",
        queries.PROMISES,
        (
            *("promise_id", "due_at", "original_due_at", "timeliness", "ended_as", "ended_at"),
            *("owner", "customer_id", "kind", "text"),
        ),
        {"customer_id": ANY, "owner": ANY, "case_id": ANY, **_PROMISE_AXES, "ended_as": get_args(EndedAs)},
    ),
    "followups": Listing(
        "Follow-ups due",
        "Whom we still have to go back to, soonest due first.",
        queries.FOLLOWUPS,
        (
            *("followup_id", "due_at", "overdue", "owner", "customer_id", "attempts"),
            *("about_promise_id", "about_concern_id", "about_problem_id", "about_disclosure_id"),
        ),
        {"customer_id": ANY, "owner": ANY, "case_id": ANY},
    ),
    "disclosures": Listing(
        "All disclosures",
        "What customers were told, in the order in which they were, and what became of it.",
        queries.DISCLOSURES,
        _DISCLOSURES,
        {"customer_id": ANY, "owner": ANY, "made_by": ANY, "case_id": ANY},
    ),
    "falsehoods": Listing(
        "Not true",
        "What customers were told that was declared false, or rests on what was.",
        queries.FALSEHOODS,
        _DISCLOSURES,
        {"customer_id": ANY, "owner": ANY, "made_by": ANY, "case_id": ANY},
    ),
    "corrections": Listing(
        "Corrections owed",
        "Who was told what is not true, and not yet what is so: one row a person and disclosure.",
        queries.FINDINGS._replace(only="code = 'correction-owed'"),
        ("subject", "customer_id", "opened_at", "opened_by", "detail"),
        {"customer_id": ANY, "case_id": ANY},
    ),
    "findings": Listing(
        "Findings",
        "Rules of honest dealing that are broken, gravest first, each with the event that proves it.",
        queries.FINDINGS,
        ("code", "severity", "subject", "customer_id", "opened_at", "opened_by", "detail"),
        {"code": tuple(FINDINGS), "severity": ("high", "medium", "low"), "customer_id": ANY, "case_id": ANY},
    ),
    "problems": Listing(
        "Problems",
        "What is wrong on our side, and who of the affected knows of it from us.",
        queries.PROBLEMS,
        (
            *("problem_id", "owner", "severity", "state", "known_since", "text"),
            *("affected", "told", "withheld", "undisclosed", "verified"),
        ),
        {"owner": ANY, "state": ("open", "claimed", "verified"), "case_id": ANY},
    ),
    "undisclosed": Listing(
        "Undisclosed problems",
        "Whom a problem touches who was not told of it by us, nor lawfully withheld from.",
        queries.UNDISCLOSED_PROBLEMS,
        ("problem_id", "customer_id", "owner", "severity", "known_since", "days_known", "withheld_until"),
        {"customer_id": ANY, "problem_id": ANY, "owner": ANY},
    ),
    "concerns": Listing(
        "Concerns",
        "What customers raised, and how far we have come with it.",
        queries.CONCERNS,
        ("concern_id", "customer_id", "problem_id", "state", "raised_at", "acknowledged_at", "addressed_at", "text"),
        {
            "customer_id": ANY,
            "problem_id": ANY,
            "state": ("raised", "acknowledged", "addressed", "confirmed", "withdrawn"),
            "case_id": ANY,
        },
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
        {"tool": ANY},
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


_TOUCHED: Final = ("known_since", "disclosure", "told_at", "withheld_until", "verified_at", "failed_at")
_FOLLOWED_UP: Final = ("followup_id", "due_at", "overdue", "owner", "attempts")

THINGS: Final[Mapping[str, Thing]] = {
    "promise": Thing(
        queries.PROMISES,
        (
            Section("What was said of it", queries.DISCLOSURES, "about_promise_id", _DISCLOSURES),
            Section("Follow-ups due", queries.FOLLOWUPS, "about_promise_id", _FOLLOWED_UP),
        ),
    ),
    "disclosure": Thing(
        queries.DISCLOSURES,
        (Section("Follow-ups due", queries.FOLLOWUPS, "about_disclosure_id", _FOLLOWED_UP),),
    ),
    "problem": Thing(
        queries.PROBLEMS,
        (
            Section(
                "Whom it touches",
                queries.AFFECTED_CUSTOMERS,
                "problem_id",
                ("customer_id", *_TOUCHED),
            ),
            Section("Concerns about it", queries.CONCERNS, "problem_id", LISTS["concerns"].columns),
        ),
    ),
    "concern": Thing(
        queries.CONCERNS,
        (
            Section("What was said of it", queries.DISCLOSURES, "about_concern_id", _DISCLOSURES),
            Section("Follow-ups due", queries.FOLLOWUPS, "about_concern_id", _FOLLOWED_UP),
        ),
    ),
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
_ENDED: Final = queries.PROMISES._replace(only="standing = 'ended'")
CUSTOMER: Final = (
    Section("Outstanding promises", queries.OUTSTANDING, "customer_id", LISTS["outstanding"].columns),
    Section("Promises that ended", _ENDED, "customer_id", LISTS["promises"].columns),
    Section("Follow-ups due", queries.FOLLOWUPS, "customer_id", LISTS["followups"].columns),
    Section("Findings", queries.FINDINGS, "customer_id", LISTS["findings"].columns),
    Section("What they were told", queries.DISCLOSURES, "customer_id", _DISCLOSURES),
    Section(
        "Problems that touch them",
        queries.AFFECTED_CUSTOMERS,
        "customer_id",
        ("problem_id", *_TOUCHED),
    ),
    Section("Concerns", queries.CONCERNS, "customer_id", LISTS["concerns"].columns),
)
SEARCHED: Final = (
    *("promise", "customer", "disclosure", "problem", "concern", "followup", "outage", "contact", "need", "survey"),
    *("apology", "goodwill", "offering", "assumption", "withholding", "policy", "calendar", "exposure", "hold"),
    "source",
)
"""Kinds of streams, in the order in which a search shows what it found."""
