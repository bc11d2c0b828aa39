"""docs/messages.md is true: its examples are sent, and answered as it says."""

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson

from consumers import cloudevents, intake
from tests.consumers.conftest import Service

PAGE = (Path(__file__).parents[2] / "docs/messages.md").read_text(encoding="utf-8")


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(PAGE.split(f"```json {name}\n")[1].split("```")[0])
    return found


def test_the_examples_are_answered_as_the_page_says(service: Service) -> None:
    sent = example("structured")
    taken = sent | {"id": "crm-20261121-000002"}
    wrong = sent | {"id": "crm-20261121-000003", "data": sent["data"] | {"customer_id": "anna@example.com"}}

    async def story() -> None:
        async with service.running() as sender:
            for command, name in ((sent, "recorded"), (taken, "refused"), (wrong, "malformed")):
                expected = example(name)
                assert same(await sender.ask(orjson.dumps(command)), expected)
            binary = {f"ce-{key}": value for key, value in sent.items() if key != "data"}
            assert same(await sender.ask(orjson.dumps(sent["data"]), headers=binary), example("recorded"))

    asyncio.run(story())


def same(found: Any, expected: Any) -> bool:
    """Equal, where … stands for any text."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), found
        return all(same(found[name], value) for name, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return isinstance(found, str) if expected == "…" else bool(found == expected)


def test_every_source_that_is_the_ledgers_own_is_on_the_page() -> None:
    named = PAGE.split("The sources ")[1].partition(" are the ledger's own")[0]
    assert set(re.findall("`([a-z-]+)`", named)) == set(cloudevents.OWN_SOURCES)


def test_every_code_of_a_malformed_message_is_on_the_page() -> None:
    source = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in (cloudevents, intake))
    codes = set(re.findall(r'Malformed\(\s*"([a-z0-9-]+)"', source))
    assert len(codes) > 15
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
