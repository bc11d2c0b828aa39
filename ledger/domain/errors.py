"""What the domain says when it says no: refusals by rule, and sentences for commands that break the schema."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from ledger.domain.model import ID_PATTERN, WANTED


class DomainError(Exception):
    """Base of everything that ledger.domain raises on purpose."""


_PYTHON_MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{6})?)\+00:00")


class Refused(DomainError):
    """A command broke a rule. `code` is listed in `dispatch.RULES`; `message` is one sentence for the sender.

    The message holds ids, dates, codes and words of ours, never personal text: it is stored in the log.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = _PYTHON_MOMENT.sub(r"\1T\2Z", message)  # a sentence spells moments as messages do


# Codes that more than one family uses. The others stand in the file of their family, beside their rule.
ID_TAKEN: Final = "id-taken"
NOT_ALLOWED: Final = "not-allowed"
WRONG_CUSTOMER: Final = "wrong-customer"
DUE_BEFORE_MADE: Final = "due-before-made"
ABOUT_ONE_THING: Final = "about-one-thing"
UNKNOWN_PROMISE: Final = "unknown-promise"
UNKNOWN_DISCLOSURE: Final = "unknown-disclosure"
UNKNOWN_CONCERN: Final = "unknown-concern"
UNKNOWN_PROBLEM: Final = "unknown-problem"
NOT_AFFECTED: Final = "not-affected"
SAME_PERSON: Final = "same-person"
IN_FUTURE: Final = "in-future"
REVIEW_IN_PAST: Final = "review-in-past"

RULES: Mapping[str, str] = {
    ID_TAKEN: "An id names one thing for ever: a second one with the same id is refused.",
    NOT_ALLOWED: "What the command asks for is not possible in the present state; the sentence names what is.",
    WRONG_CUSTOMER: "Things that a command ties together belong to one customer.",
    DUE_BEFORE_MADE: "Nothing is due before the moment at which that was said, and a new due time lies after it.",
    ABOUT_ONE_THING: "`about` names exactly one thing.",
    UNKNOWN_PROMISE: "A promise must have been made before anything else can happen to it.",
    UNKNOWN_DISCLOSURE: "A disclosure must have been made before anything rests on it or happens to it.",
    UNKNOWN_CONCERN: "A concern must have been raised before anything else can happen to it.",
    UNKNOWN_PROBLEM: "A problem must have been detected before anything is said about it or happens to it.",
    NOT_AFFECTED: "What is done about a problem for a customer concerns a customer whom it affects.",
    SAME_PERSON: "Four eyes: the approver is somebody else than the actor.",
    IN_FUTURE: "What is said to be known or written down already was so no later than when that is said.",
    REVIEW_IN_PAST: "What is put off is looked at again: `review_at` lies after the moment at which that was said.",
}

_MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def describe(error: ValidationError) -> str:
    """One sentence: which member of the command is wrong, and what to send instead.

    It describes the first mistake. What was sent is never repeated, for it may be personal; that goes for the name
    of an unknown member too, unless it looks like the name of a member.
    """
    mistake = error.errors(include_url=False, include_input=False)[0]
    kind, context = mistake["type"], mistake.get("ctx", {})
    path = [part if isinstance(part, int) or _MEMBER.fullmatch(part) else None for part in mistake["loc"]]
    if kind == "extra_forbidden" and path[-1] is None:
        place = ".".join(str(part) for part in path[:-1]) or "the command"
        return f"`{place}` has an unknown member whose name is no word: leave it out."
    where = f"`{'.'.join(str(part) for part in path)}`" if path else "the command"
    return _sentence(kind, where, context)


def _sentence(kind: str, where: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "extra_forbidden":
            return f"{where} is not a member of this command: leave it out or correct its name."
        case "missing":
            return f"{where} is missing: send it."
        case "string_pattern_mismatch" if context["pattern"] == ID_PATTERN:
            return (
                f"{where} must be a pseudonym of {WANTED[ID_PATTERN]} and nothing else: an e-mail "
                "address or a name is refused so that no id is personal data; send the id that your system uses."
            )
        case "moment":
            return f"{where} must be an RFC 3339 time with an offset, such as 2026-11-21T10:00:00+01:00."
        case "moment_without_offset":
            return f"{where} is a time without an offset: add Z or +hh:mm, so that it means one moment everywhere."
        case "moment_out_of_range":
            return f"{where} is outside the years 1 to 9999 in UTC: send a time within them."
        case "string_pattern_mismatch":
            return f"{where} must be {WANTED[context['pattern']]}."
        case "literal_error":
            return f"{where} must be one of {_choices(context)}."
        case "string_too_long" | "too_long":
            return f"{where} is too long: at most {context['max_length']} {_unit(kind)} are accepted."
        case "string_too_short" | "too_short":
            return f"{where} is too short: at least {context['min_length']} {_unit(kind)} must be given."
        case "greater_than_equal":
            return f"{where} must be {context['ge']} or more."
        case "less_than_equal":
            return f"{where} must be {context['le']} or less."
        case "json_invalid":
            return "the command is not valid JSON in UTF-8: correct it and send it again under a new id."
        case "string_type" | "string_unicode":
            return f"{where} must be a string."
        case "bool_type":
            return f"{where} must be true or false."
        case "int_type":
            return f"{where} must be a whole number."
        case "tuple_type":
            return f"{where} must be an array."
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{where} must be an object."
    return f"{where} is not acceptable ({kind}): see the command's schema."


def _choices(context: Mapping[str, Any]) -> str:
    return str(context["expected"]).replace("'", "")


def _unit(kind: str) -> str:
    return "characters" if kind.startswith("string") else "elements"
