"""What the console answers: a page made from a template, or one that says in a sentence why there is none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import psycopg

from ledger.erasure.keyring import KeyUnwrapFailed
from ledger.erasure.sealing import SealBroken
from ledger.key_provider import KeyProblem
from ledger.storage.entries import MalformedEntry
from ledger.tlog.errors import Malformed
from projections.proving import NotSigned
from projections.site import Damaged
from projections.versions import LACKING, NotInstalled
from projections.web.console.asked import Asked, Unclear
from projections.web.console.cells import label
from projections.web.console.lists import LISTS

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    auto_reload=False,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["label"] = label
for _name in _TEMPLATES.list_templates():  # now: a page is of the release that runs, whatever is installed meanwhile
    _TEMPLATES.get_template(_name)


class Absent(LookupError):
    """There is nothing of that name, or was nothing then; the text says what."""


class Busy(Exception):
    """So many ask that no more can wait."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered: a status, and the HTML."""

    status: int
    html: str


def render(template: str, status: int = 200, **about: Any) -> Page:
    """The page that a template makes; whatever is shown in it is text and never markup."""
    return Page(status, _TEMPLATES.get_template(template).render(lists=LISTS, **about))


def trouble(error: Exception, asked: Asked, path: str) -> Page:
    """The page that says why there is no other at `path`. Raises what is nobody's fault but ours."""
    match error:
        case Unclear():
            status, sentence = 400, str(error)
        case Absent():
            status, sentence = 404, str(error)
        case Busy():
            status, sentence = 503, "too many ask at once: ask again in a moment"
        case NotInstalled():
            status, sentence = 503, str(error)
        case psycopg.errors.QueryCanceled():
            status, sentence = 503, "this took longer than 10 s: narrow it down, or ask in SQL"
        case psycopg.errors.DeadlockDetected():
            status, sentence = 503, "the read tables were made anew in that moment: ask again"
        case psycopg.OperationalError():
            status, sentence = 503, "the database does not answer"
        case psycopg.Error() if isinstance(error, LACKING):
            status, sentence = 503, "the views here are not those of this release: run `promise-ledger migrate`"
        case psycopg.Error():
            status, sentence = 500, f"the database refuses this ({type(error).__name__})"
        case KeyProblem() | KeyUnwrapFailed() | Damaged() | NotSigned():
            status, sentence = 500, str(error)
        case SealBroken():
            status, sentence = 500, f"{error}: run `promise-ledger verify`"
        case Malformed() | MalformedEntry():
            status, sentence = 500, f"what is stored is no log ({error}): run `promise-ledger verify`"
        case _:
            raise error
    return render("trouble.html", status, sentence=sentence, asked=asked, path=path, behind=())


def enter_page(*, closed: bool) -> Page:
    """What whoever has not shown the token is shown."""
    return render("enter.html", 401, closed=closed)
