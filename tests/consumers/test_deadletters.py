"""Dead letters: how much of a message they hold, for how long, and what operators do with them."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consumers import deadletters
from consumers.channels import COMMAND_BYTES
from deploy.cli import app
from deploy.commands import letters
from tests.consumers.conftest import Service
from tests.consumers.events import body, promise
from tests.consumers.test_hostile import publish_raw


def test_a_letter_holds_64_kib_and_16_kib_of_headers_and_of_more_only_length_and_digest(service: Service) -> None:
    large = b"\xc3\xa4" * 100 * 1024
    headers = b"NATS/1.0\r\nce-id: c-9\r\nlong: " + b"\xff" * 60 * 1024 + b"\r\n\r\n"

    async def story() -> None:
        async with service.running() as sender:
            assert (await sender.ask(large))["code"] == "too-large"
            await publish_raw(service.broker_url, b"ledger.commands.promise.make", headers, b"{}")
            assert (await sender.ask(b"x" * COMMAND_BYTES))["code"] == "not-json"
            age = (await sender.js.stream_info("LEDGER_DEADLETTERS")).config.max_age
            assert age == 90 * 24 * 3600

    asyncio.run(story())
    cut, headed, whole = deadletters.dead_letters(service.broker_url)
    assert (cut.body, cut.headers, cut.body_bytes, cut.cut) == (b"", {}, len(large), True)
    assert cut.body_sha256 == hashlib.sha256(large).hexdigest()
    assert (headed.body, headed.headers, headed.headers_left_out, headed.cut) == (b"", {}, 2, True)
    assert (whole.body, whole.cut) == (b"x" * COMMAND_BYTES, False)
    with pytest.raises(deadletters.CutLetter, match=r"--body FILE"):
        deadletters.replay(service.broker_url, cut.number)
    deadletters.replay(service.broker_url, cut.number, body=body(promise()))
    deadletters.replay(service.broker_url, whole.number)
    (left,) = deadletters.dead_letters(service.broker_url)
    assert left.number == headed.number


def test_operators_list_all_show_and_remove(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "located", lambda _: service.settings)
    monkeypatch.setattr(deadletters, "MOST_LISTED", 2)

    def said(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["deadletters", *words])
        assert result.exit_code == code, result.output
        return result.output

    async def story() -> None:
        async with service.running() as sender:
            for sent in (b"\xff\x00", "Für \x1b[31mImmer".encode(), body(type="promise.forget")):
                await sender.ask(sent)

    asyncio.run(story())
    assert "2 of 3 dead letters" in said("list")
    assert "--after 2" in said("list")
    assert "not-json" not in said("list", "--after", "2")
    listed: list[dict[str, Any]] = json.loads(said("list", "--json"))
    assert [row["number"] for row in listed] == [1, 2, 3]
    assert set(listed[0]) == {"number", "buried_at", "source", "id", "code", "reason", "subject"}
    first, second = (json.loads(said("show", number, "--json")) for number in "12")
    assert (first["body_encoding"], first["body"], first["code"]) == ("base64", "/wA=", "not-utf-8")
    assert (second["body_encoding"], second["body"], second["cut"]) == ("utf-8", "Für \x1b[31mImmer", False)
    shown = said("show", "2")
    assert "Für \\x1b[31mImmer" in shown, "what a sender wrote never steers the operator's terminal"
    assert "reply_to: _INBOX" in shown
    assert "not-json" in shown
    said("remove", "2")
    with pytest.raises(deadletters.NoSuchLetter, match="no dead letter 2"):
        deadletters.dead_letter(service.broker_url, 2)
    with pytest.raises(deadletters.NoSuchLetter):
        deadletters.remove(service.broker_url, 2)
    assert [row["number"] for row in json.loads(said("list", "--json"))] == [1, 3]


def test_a_mended_body_is_no_larger_than_a_command_may_be(tmp_path: Path) -> None:
    """Nothing larger is read, and without a queue a body that fits is only not sent."""
    file, words = tmp_path / "body", ["deadletters", "replay", "1", "--data-dir", str(tmp_path), "--body"]
    file.write_bytes(b"x" * COMMAND_BYTES)
    assert "larger" not in CliRunner().invoke(app, [*words, str(file)]).output
    file.write_bytes(b"x" * (COMMAND_BYTES + 1))
    refused = CliRunner().invoke(app, [*words, str(file)])
    assert f"is larger than the {COMMAND_BYTES} bytes that a command may have: nothing was sent" in refused.output
    assert refused.exit_code == 1
