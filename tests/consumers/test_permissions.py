"""The permissions that docs/operations.md gives: a source sends in its own name, reads its own answers, and no more."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest

from consumers import asking
from consumers.announcing import Progress
from consumers.channels import own_command_subject
from consumers.client import Client
from consumers.provision import provision
from consumers.recording import record_lines
from deploy.embedded import Nats, free_port
from deploy.serve_relay import connected
from ledger.domain.promise_messages import MakePromise
from ledger.receipts import Receipt
from ledger.settings import Settings
from ledger.storage.migrations import create_log
from tests.consumers.conftest import Sender, Service
from tests.consumers.events import body, promise
from tests.storage.test_roles import as_role

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
RECIPE = json.loads(re.findall(r"```json nats\n(.*?)```", PAGE, re.DOTALL)[0])
PASSWORDS = {each["user"]: each["password"] for each in RECIPE["authorization"]["users"]}


class Guarded(Nats):
    """NATS with the users of the page."""

    def _configuration(self, store: Path, pid_file: Path) -> dict[str, object]:
        return super()._configuration(store, pid_file) | RECIPE


def url(server: Nats, user: str) -> str:
    return f"nats://{user}:{PASSWORDS[user]}@127.0.0.1:{server.port}"


@pytest.fixture
def server(data_dir: Path) -> Iterator[Nats]:
    server = Guarded(data_dir, None)
    server.start()
    yield server
    server.stop()


class Login:
    """One source, connected as itself, and what the server refused it."""

    def __init__(self, server: Nats, user: str) -> None:
        self.url, self.user, self.refused = url(server, user), user, list[str]()

    async def __aenter__(self) -> "Login":
        async def note(error: Exception) -> None:
            self.refused.append(str(error).lower())

        prefix = f"_INBOX_{self.user}".encode()
        self.connection = await nats.connect(self.url, error_cb=note, inbox_prefix=prefix)
        self.sender = Sender(self.connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()

    async def may_not(self, subject: str, sent: bytes = b"") -> None:
        """Publishing there, or listening there where nothing is `sent`, is refused by the server."""
        before = len(self.refused)
        if sent:
            await self.connection.publish(subject, sent)
        else:
            await self.connection.subscribe(subject)
        await self.connection.flush()
        await until(lambda: len(self.refused) > before)
        assert [each for each in self.refused[before:] if subject.lower() in each], (subject, self.refused)


async def until(reached: Callable[[], bool]) -> None:
    """It is reached, or some seconds are over."""
    for _ in range(500):
        if reached():
            break
        await asyncio.sleep(0.02)


def command(source: str, number: int = 1) -> bytes:
    return body(promise(promise_id=f"P-{source}-{number}"), id=f"{source}-{number}", source=source)


def test_a_source_sends_in_its_own_name_alone(settings: Settings, server: Nats) -> None:
    provision(ledger := url(server, "ledger"), ack_wait_seconds=2)
    service = Service(settings.model_copy(update={"broker_url": ledger}))

    def own(source: str) -> str:
        return own_command_subject(source, "promise.make")

    async def story() -> None:
        async with service.running(), Login(server, "crm") as crm, Login(server, "tickets") as tickets:
            answers: list[Any] = []

            async def read(message: Any) -> None:
                answers.append(orjson.loads(message.data))

            await tickets.connection.subscribe("ledger.receipts.tickets", cb=read)
            await tickets.connection.flush()
            for login in (crm, tickets):
                receipt = await login.sender.ask(command(login.user), subject=own(login.user))
                assert (receipt["status"], receipt["source"]) == ("recorded", login.user)
            lied = await crm.sender.ask(command("tickets", 2), subject=own("crm"))
            assert (lied["status"], lied["code"]) == ("malformed", "wrong-subject")
            assert crm.refused == []
            await crm.may_not(own("tickets"), command("tickets", 3))
            await crm.may_not("ledger.commands.promise.make", command("tickets", 4))
            await crm.may_not("ledger.receipts.crm", b"{}")
            await crm.may_not("$JS.API.STREAM.PURGE.LEDGER_COMMANDS", b"{}")
            await crm.may_not("$JS.API.STREAM.DELETE.LEDGER_EVENTS", b"{}")
            for heard in ("ledger.commands.>", "ledger.receipts.tickets", "ledger.events.>", "_INBOX_tickets.>"):
                await crm.may_not(heard)
            asked = await tickets.sender.ask(command("tickets", 5), subject=own("tickets"))
            assert asked["status"] == "recorded"
            await until(lambda: len(answers) >= 3)  # what is asked for comes another way, and may be here before
            assert [answer["id"] for answer in answers] == ["tickets-1", "tickets-2", "tickets-5"]
            async with Client(crm.url, "crm", patience_seconds=10) as client:
                made = await client.send(MakePromise.model_validate(promise(promise_id="P-crm-6")), id="crm-6")
                assert isinstance(made, Receipt)
            lines = [line async for burst in record_lines(tickets.url, [command("tickets", 7)]) for line in burst]
            assert [line.status for line in lines] == ["recorded"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("nats://crm:change-me@host:4222", "_INBOX_crm"),
        ("nats://crm:change-me@one,nats://crm:change-me@two", "_INBOX_crm"),
        ("nats://token@host", "_INBOX"),
        ("nats://c.r>m:change-me@host", "_INBOX"),
        ("nats://127.0.0.1:4222", "_INBOX"),
    ],
)
def test_answers_come_below_the_login_and_never_below_a_token(address: str, prefix: str) -> None:
    assert asking._inbox(address) == prefix


def test_who_is_spoken_for_by_another_meets_it_in_the_receipts(service: Service) -> None:
    """Without such permissions any sender may name any source: this is what shows it."""

    async def story() -> None:
        async with service.running() as impostor, service.sender() as crm:
            receipts = await crm.connection.subscribe("ledger.receipts.crm")
            await crm.connection.flush()
            assert (await impostor.ask(command("crm")))["status"] == "recorded"
            seen = orjson.loads((await receipts.next_msg(5)).data)
            assert (seen["id"], seen["status"]) == ("crm-1", "recorded")

    asyncio.run(story())


def test_a_relay_that_nats_does_not_let_in_says_so_and_goes_on_trying(server: Nats) -> None:
    async def turned_away() -> tuple[bool, list[str | None]]:
        progress = (Progress(), Progress())
        connecting = asyncio.ensure_future(connected(f"nats://ledger:wrong@127.0.0.1:{server.port}", progress))
        await until(lambda: progress[1].failure is not None)
        tries = not connecting.done()
        connecting.cancel()
        await asyncio.wait((connecting,))
        return tries, [each.failure for each in progress]

    refused = "there is no connection to NATS, see LEDGER_BROKER_URL: nats: 'Authorization Violation'"
    assert asyncio.run(turned_away()) == (True, [refused, refused])


@pytest.mark.parametrize(("part", "role"), [("intake", "ledger_appender"), ("projections", "ledger_projector")])
def test_a_part_that_nats_does_not_let_in_ends_with_a_sentence(
    part: str, role: str, readable: str, server: Nats
) -> None:
    create_log(Settings(data_dir=server.data_dir, database_url=readable))
    environment = os.environ | {
        "LEDGER_DATA_DIR": str(server.data_dir),
        "LEDGER_DATABASE_URL": as_role(readable, role),
        "LEDGER_BROKER_URL": f"nats://ledger:wrong@127.0.0.1:{server.port}",
        "LEDGER_HTTP_PORT": str(free_port(0, "")),
    }
    command = [sys.executable, "-m", "deploy.cli", "serve", part]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.stderr == (
        "promise-ledger: NATS does not let this part in (nats: 'Authorization Violation'): "
        "give LEDGER_BROKER_URL the login of a user that NATS knows\n"
    )
    assert ended.returncode == 1
