"""The account of the demo story: what was told and what became of it, what is owed, what an auditor should see."""

from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy import story
from deploy.console import console_address, http_url
from deploy.places import SetupError
from deploy.tables import show
from ledger.app import Submission
from ledger.clock import system_clock
from ledger.domain.disclosures import CheckDisclosure
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.verification.log import verify
from projections import queries
from projections.blast import blast_radius
from projections.findings.disclosure_check import Checker
from projections.findings.registry import FINDINGS
from projections.scorecard import Measure, scorecard

Row = dict[str, Any]
_TOLD: Final = ("promise.made", "disclosure.made", "disclosure.correction_delivered", "need.declined", "need.referred")
_MEASURES: Final = ("kept", "not_yet_verified", "on_time_as_first_promised", "corrections_outstanding", "would_hire")
_DISCLOSURES: Final = "SELECT * FROM audit.disclosures WHERE customer_id = %s"
_CLOSED: Final = """
SELECT DISTINCT code, subject FROM audit.finding_history
WHERE customer_id = %s AND NOT prevented AND opened_at <= now() AND closed_at <= now()
ORDER BY code, subject
"""
_ASK_ON: Final = (
    ("outstanding --as-of TIME", "what was owed then"),
    (f"customer {story.CUSTOMER}", "all that happened"),
    ("trail promise:P-stove", "one promise, from the log"),
    ("findings --code correction-owed", "who was not told the truth yet"),
    (f"blast-radius {story.FALSEHOOD}", "how far a falsehood went"),
    ("scorecard --by owner", "every ratio with its denominator"),
    ("verify --projections", "recompute everything"),
)


def give(out: Console, settings: Settings, url: str, vkey: str) -> None:
    """What commands and views answer once the story is told, on some two screens."""
    secrets = keys.secrets_of(settings)
    with psycopg.connect(url) as connection:
        found = queries.customer(connection, queries.keyring(secrets.kek), story.CUSTOMER)
        out.print()
        out.rule(f"what customer {story.CUSTOMER} was promised and told")
        _told(out, found["timeline"], _rows(connection, _DISCLOSURES, story.CUSTOMER))
        show(out, "outstanding", found["outstanding"], ("promise_id", "owner", "due_at", "timeliness", "text"))
        show(out, "follow-ups due", found["followups"], ("followup_id", "owner", "due_at", "about_promise_id"))
        out.rule("what an auditor should see")
        findings = [each for each in queries.findings(connection) if each["customer_id"] in story.CUSTOMERS]
        _wrong(out, findings, _rows(connection, _CLOSED, story.CUSTOMER))
        _blast(out, connection)
        _asked(out, url)
        _card(out, scorecard(connection))
    out.rule("verification")
    _verified(out, url, vkey, settings, secrets)
    out.print("the same as pages, for whoever opens this address:")
    out.print(Text(f"  {pages_at(settings)}", "cyan"))
    out.print(f"health and metrics: {http_url(settings)}/health and /metrics")
    out.print("ask on, each with .venv/bin/promise-ledger before it:")
    grid = Table.grid(padding=(0, 2))
    for command, why in _ASK_ON:
        grid.add_row(Text(f"  {command}", "cyan"), why)
    out.print(grid)
    out.print("Ctrl-C stops everything; the next `make run` goes on with this ledger.")


def pages_at(settings: Settings) -> str:
    """The address of the console, or why nobody is let in there: the story was told all the same."""
    try:
        return console_address(settings, http_url(settings))
    except SetupError as error:
        return str(error)


def _rows(connection: psycopg.Connection[Any], query: LiteralString, *parameters: str) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()


def _told(out: Console, timeline: Iterable[Row], disclosures: Iterable[Row]) -> None:
    """Promises, disclosures and an honest no in the order of the log, with what became of what was said."""
    said = {f"disclosure:{row['disclosure_id']}": row for row in disclosures}
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=16, no_wrap=True)
    grid.add_column(width=15)
    grid.add_column(ratio=1)
    for row in timeline:
        if row["type"] in _TOLD:
            referred = row["data"].get("refer_to")
            words = f"referred to: {referred}" if referred else f"“{row['text']}”"
            marked = Text.assemble(words, *_marks(said.get(row["stream"], {})))
            grid.add_row(f"{row['occurred_at']:%d %b %H:%M}", Text(row["stream"].partition(":")[2], "cyan"), marked)
    out.print(grid)
    out.print()


def _marks(disclosure: Row) -> Iterable[tuple[str, str]]:
    if disclosure.get("falsified_at") is not None:
        yield f"\nFALSIFIED: known to be untrue since {disclosure['known_false_since']:%d %b %H:%M}", "bold red"
    elif disclosure.get("contaminated"):
        yield "\nRESTS ON A FALSEHOOD", "red"
    if disclosure.get("corrected_by"):
        yield f"\ncorrected by {', '.join(disclosure['corrected_by'])}", "green"
    if disclosure.get("corrects") is not None:
        yield f"\ncorrects {disclosure['corrects']}", "green"


def _wrong(out: Console, findings: Iterable[Row], closed: Iterable[Row]) -> None:
    """Open findings by code, each with the sentence of its rule, and in one sentence those that were closed."""
    subjects: dict[str, list[str]] = {}
    for row in findings:
        about = f"{row['subject'].partition(':')[2]} ({row['customer_id']})" if row["customer_id"] else row["subject"]
        subjects.setdefault(row["code"], []).append(about)
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=31, no_wrap=True)
    grid.add_column(ratio=1)
    for code, abouts in subjects.items():
        colour = {"high": "bold red", "medium": "yellow"}.get(FINDINGS[code].severity, "")
        grid.add_row(Text(code, colour), Text.assemble((", ".join(abouts), "cyan"), f"  {FINDINGS[code].rule}"))
    out.print(grid)
    past = ", ".join(f"{row['code']} {row['subject'].partition(':')[2]}" for row in closed)
    out.print(Text.assemble((f"opened and closed since, for {story.CUSTOMER}: ", "bold"), past))
    out.print()


def _blast(out: Console, connection: psycopg.Connection[Any]) -> None:
    found = blast_radius(connection, story.FALSEHOOD)
    assert found is not None
    out.print(
        Text.assemble(
            (f"blast radius of {story.FALSEHOOD}: ", "bold"),
            f"told {', '.join(found.told)}; repeated by {', '.join(found.repeated_by) or 'nobody'} after it was known "
            f"false; corrections: {found.delivered} delivered, ",
            (f"{found.owed} owed", "bold red" if found.owed else "green"),
        )
    )
    by_id = ", ".join(f"{item.id} ({item.correction or item.kind})" for item in found.items)
    out.print(f"  rests on it: {by_id}")
    out.print()


def _asked(out: Console, url: str) -> None:
    """What the ledger answers to who asks before saying it once more; nothing is recorded of that."""
    question = CheckDisclosure.model_validate({**story.ASKED, "occurred_at": system_clock()})
    with closing(Checker(url)) as checker:
        answer = checker.check(Submission("crm", "asked", question, b""))
    codes = ", ".join(each.code for each in answer.findings)
    out.print(Text.assemble(("asked before saying it once more: ", "bold"), f"“{question.text}” would raise {codes}"))
    out.print()


def _card(out: Console, measures: Iterable[Measure]) -> None:
    """A few measures of the scorecard, each with what it was counted out of."""
    found = {each.measure: f"{each.counted} of {each.out_of}" for each in measures}
    card = ", ".join(f"{name.replace('_', ' ')} {found[name]}" for name in _MEASURES)
    out.print(Text.assemble(("scorecard: ", "bold"), f"{card}. Small numbers: no conclusion rests on them."))
    out.print()


def _verified(out: Console, url: str, vkey: str, settings: Settings, secrets: keys.Secrets) -> None:
    report = verify(url, vkey=vkey, guard=lambda: read_guard(settings.guard_path), key_encryption_key=secrets.kek)
    if report.problem is None:
        root = report.root.hex()
        out.print(Text.assemble(("verified", "green"), f": {report.size} events give the signed root {root}"))
    else:
        out.print(Text.assemble(("NOT AS RECORDED", "red"), f": {report.problem.table}: {report.problem.message}"))
