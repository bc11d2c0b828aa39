"""Policies: the holidays for a draft, and what the draft would change before anybody publishes it."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from consumers.cloudevents import Malformed, parse
from deploy.finding import at_hand
from deploy.foreign import beginning
from deploy.holidays import MOST_YEARS, UnknownPlace, public_holidays, versions
from deploy.tables import counted, show
from deploy.terminal import AsJson, DataDir, bar, complain, database, in_order, moment, out, print_json
from ledger.domain.errors import Refused
from ledger.domain.policies import PublishPolicy
from projections.trying import Trial, try_policy

app = typer.Typer(no_args_is_help=True, help="Policies: draft one, and try it against the history.")
_MOST_ROWS = 20
_LARGEST_DRAFT = 2**20
_LISTS = {
    "opened": ("findings that would have opened", ("code", "subject", "customer_id", "opened_at", "opened_by")),
    "gone": ("findings that would not have opened", ("code", "subject", "customer_id", "opened_at", "opened_by")),
    "moved": ("findings at another time", ("code", "subject", "customer_id", "opened_at", "under_draft", "opened_by")),
    "warnings_added": ("warnings more", ("promise_id", "what", "at", "due_at")),
    "warnings_gone": ("warnings less", ("promise_id", "what", "at", "due_at")),
    "escalations_added": ("escalations more", ("promise_id", "what", "at", "due_at")),
    "escalations_gone": ("escalations less", ("promise_id", "what", "at", "due_at")),
    "due_times": ("other due times", ("promise_id", "calendar_id", "due_in", "due_at", "under_draft")),
}


@app.command("try")
def try_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A policy.publish, or its data, as JSON.")],
    start: Annotated[
        datetime | None, typer.Option("--from", parser=moment, metavar="TIME", help="As if in effect from then on.")
    ] = None,
    stop: Annotated[
        datetime | None, typer.Option("--to", parser=moment, metavar="TIME", help="What came until then; or until now.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What a draft would have changed, had it been in effect from the beginning. Nothing is published."""
    in_order(start, stop)
    until = stop or datetime.now(UTC)
    try:
        draft = read_draft(beginning(file, _LARGEST_DRAFT))
        with at_hand(data_dir) as settings, bar("trying") as advance:
            trial = try_policy(database(settings), draft, since=start, until=until, progress=advance)
    except (Malformed, Refused) as error:
        complain(f"{file} is no policy that could be published: {error}")
        raise typer.Exit(2) from None
    if as_json:
        lists = {name: [each._asdict() for each in getattr(trial, name)] for name in _LISTS}
        print_json({"from": start, "to": until, "size": trial.size, "counts": trial.counts(), **lists})
    else:
        _tell(trial)


def _years(text: str) -> range:
    found = re.fullmatch(r"([0-9]{4})(?:-([0-9]{4}))?", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a year, nor years such as 2026-2028")
    years = range(int(found[1]), int(found[2] or found[1]) + 1)
    if not 0 < len(years) <= MOST_YEARS or years[0] < 1:
        raise typer.BadParameter(f"{text!r} is not one to {MOST_YEARS} years, the first one first")
    return years


@app.command("holidays")
def holidays_command(
    country: Annotated[str, typer.Argument(help="ISO 3166 code, such as DE.")],
    years: Annotated[
        range, typer.Option("--years", parser=_years, metavar="YEARS", help="Such as 2026, or 2026-2028.")
    ],
    subdivision: Annotated[str | None, typer.Option("--subdivision", help="ISO 3166-2 part, such as BE.")] = None,
    as_json: AsJson = False,
) -> None:
    """Public holidays for the calendar of a draft; with --json the members `holidays` and `covers_until` of it."""
    try:
        found = public_holidays(country, subdivision, years)
    except UnknownPlace as error:
        raise typer.BadParameter(str(error)) from error
    covers_until = date(years[-1], 12, 31)
    if as_json:
        print_json({"holidays": [each.day for each in found], "covers_until": covers_until})
        return
    rows = [{"day": f"{each.day:%Y-%m-%d %a}", "name": each.name} for each in found]
    show(out, f"{counted(len(found), 'public holiday')} until {covers_until}, from {versions()}", rows, ("day", "name"))


def read_draft(text: bytes) -> PublishPolicy:
    """The command in `text`: a CloudEvent, or its data alone. Raises Malformed."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None  # parse says what is wrong
    if isinstance(value, dict) and "specversion" not in value:
        event = {"specversion": "1.0", "id": "draft", "source": "draft", "type": PublishPolicy.TYPE}
        text = orjson.dumps(event | {"time": datetime.now(UTC), "data": value})
    command = parse({}, text).command
    if not isinstance(command, PublishPolicy):
        raise Malformed("unknown-type", f"It is a {command.TYPE}: a draft is a {PublishPolicy.TYPE}.")
    return command


def _tell(trial: Trial) -> None:
    counts = trial.counts()
    rows: list[dict[str, Any]] = [
        {"what": _LISTS[name][0], "of": what, "count": count}
        for name, found in counts.items()
        for what, count in sorted(found.items())
    ]
    if not rows:
        out.print(f"{counted(trial.size, 'event')}: nothing would have been otherwise")
        return
    show(out, f"under the draft, of {counted(trial.size, 'event')}", rows, ("what", "of", "count"))
    for name, (title, columns) in _LISTS.items():
        found = getattr(trial, name)
        if found:
            show(out, title, [each._asdict() for each in found[:_MOST_ROWS]], columns)
        if len(found) > _MOST_ROWS:
            out.print(f"and {len(found) - _MOST_ROWS} more: --json has all of them")
