"""The answer to `disclosure.check`: what saying this would raise, before it is said. Nothing of it is recorded.

    {"status":"checked","source":"crm","id":"c-1","log_size":812,"refused":null,
     "findings":[{"code":"repeated-falsehood","severity":"high","subject":"disclosure:D-9", … }],
     "later":[{"code":"assumption-open", … }],"closes":[],"closes_more":0}
    {"status":"unavailable","source":"crm","id":"c-1","code":"behind","message":"…"}

One form for all: the read side writes it, senders read it, and the contract's schema is made from it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from ledger.domain.model import Id, Moment

Index = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class NotNow(Exception):
    """No check can be answered at the moment: `code` and a sentence. Nothing is wrong with the question."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)

    def to_json(self) -> bytes:
        """The answer as it is sent."""
        return self.model_dump_json().encode()


class WouldBeRefused(_Answer):
    """The rule that says no: making it would be refused."""

    code: str
    message: str


class ExpectedFinding(_Answer):
    """One finding. `opened_by` is the leaf of the event that it comes from, null where that is not recorded yet."""

    code: str
    severity: Literal["high", "medium", "low"]
    rule: str
    subject: str
    customer_id: Id | None
    case_id: Id | None
    opened_at: Moment
    closed_at: Moment | None
    opened_by: Index | None
    detail: Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


class Checked(_Answer):
    """What making the disclosure would do, as of the first `log_size` events, gravest first.

    `findings` would be open at once; `later` open at their `opened_at` unless something comes before. `closes` are open
    now, or known to come, and would not be any more: 100 at most, and `closes_more` others.
    """

    status: Literal["checked"] = "checked"
    source: Id
    id: Id
    log_size: Count
    refused: WouldBeRefused | None = None
    findings: tuple[ExpectedFinding, ...] = ()
    later: tuple[ExpectedFinding, ...] = ()
    closes: tuple[ExpectedFinding, ...] = ()
    closes_more: Count = 0

    @property
    def clean(self) -> bool:
        """Nothing speaks against saying it."""
        return self.refused is None and not self.findings


class Unavailable(_Answer):
    """The question could not be answered now: ask again. `source` and `id` are those of the question."""

    status: Literal["unavailable"] = "unavailable"
    source: Id
    id: Id
    code: str
    message: str
