"""NATS over TLS: what is not trusted is named at once, and a `tls://` address is never spoken to in the clear."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from consumers import asking, trust
from consumers.asking import NoAnswer
from consumers.client import Client
from consumers.provision import ProvisionError, provision
from consumers.trust import NotTrusted
from deploy.embedded import Nats
from deploy.serve_relay import connected
from tests.conftest import new_data_dir, remove


def certificate(directory: Path, name: str, *, days: int) -> Path:
    """A self-signed certificate for `name`, in the file of that name, over for `-days` days or good for `days`."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (directory / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (directory / name).write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return directory / name


class Encrypted(Nats):
    """NATS that insists on TLS with the certificate at `shown`."""

    shown: Path

    def _configuration(self, store: Path, pid_file: Path) -> dict[str, object]:
        tls = {"cert_file": str(self.shown), "key_file": f"{self.shown}.key"}
        return super()._configuration(store, pid_file) | {"tls": tls}

    @property
    def url(self) -> str:
        return f"tls://localhost:{self.port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    """A NATS that is `localhost`, good for a month."""
    server = Encrypted(new_data_dir(), None)
    server.shown = certificate(tmp_path_factory.mktemp("certificates"), "localhost", days=30)
    server.start()
    yield server
    server.stop()
    remove(server.data_dir)


def known(monkeypatch: pytest.MonkeyPatch, authority: Path) -> None:
    """`authority` is whom this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.parent / "none"))


async def patiently(connecting: Any) -> Any:
    async with asyncio.timeout(30):
        connection = await connecting
    await connection.close()
    return connection


def test_who_is_trusted_is_spoken_to(server: Encrypted, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, server.shown)
    provision(server.url)
    asyncio.run(patiently(asking.connected(server.url)))


def test_a_certificate_that_is_not_trusted_is_named(
    server: Encrypted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, certificate(tmp_path, "other", days=30))
    unknown = (
        "NATS shows a certificate that is not trusted (self-signed certificate): renew it, or let SSL_CERT_FILE name "
        "the file of the authority that signed it"
    )
    for connecting in (trust.connect(server.url, max_reconnect_attempts=-1), connected(server.url, ())):
        with pytest.raises(NotTrusted) as said:
            asyncio.run(patiently(connecting))
        assert str(said.value) == unknown
    with pytest.raises(NoAnswer) as away:
        asyncio.run(patiently(asking.connected(server.url)))
    assert str(away.value) == unknown
    known(monkeypatch, server.shown)
    with pytest.raises(NotTrusted, match=r"\(IP address mismatch, certificate is not valid for '127\.0\.0\.1'\)"):
        provision(server.url.replace("localhost", "127.0.0.1"))


def test_a_tls_address_is_not_spoken_to_in_the_clear(nats_url: str) -> None:
    with pytest.raises(NotTrusted) as said:
        asyncio.run(patiently(trust.connect(nats_url.replace("nats:", "tls:"))))
    assert str(said.value) == (
        "no TLS connection to NATS comes about (it does not insist on TLS): look at the option `tls` of that server"
    )


def test_a_connection_outlives_an_expired_certificate(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, failures = Encrypted(data_dir, None), list[str]()
    server.shown = certificate(tmp_path, "localhost", days=30)
    known(monkeypatch, server.shown)
    (tmp_path / "old").mkdir()
    expired = certificate(tmp_path / "old", "localhost", days=-1)

    async def heard(error: Exception) -> None:
        failures.append(str(error))

    async def until_back() -> None:
        connection = await trust.connect(
            server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05, error_cb=heard
        )
        server.shown, good = expired, server.shown
        await asyncio.to_thread(server.stop)
        server.start()
        while not any("certificate" in each for each in failures):
            await asyncio.sleep(0.02)
        assert not connection.is_connected
        server.shown = good
        await asyncio.to_thread(server.stop)
        server.start()
        while not connection.is_connected:
            await asyncio.sleep(0.02)
        await connection.close()

    server.start()
    try:
        asyncio.run(asyncio.wait_for(until_back(), 60))
    finally:
        server.stop()


@pytest.mark.parametrize("shown", ["nats://127.0.0.1:9", "nats://127.0.0.1:nine"])
def test_where_nobody_answers_the_address_is_told_without_its_login(shown: str) -> None:
    address, told = shown.replace("//", "//crm:se@cret@"), re.escape(f"NATS does not answer at {shown}: ")
    with pytest.raises(ProvisionError, match=told):
        provision(address)
    with pytest.raises(NoAnswer, match=told):
        asyncio.run(asking.connected(address))
    with pytest.raises(NoAnswer, match=told):
        asyncio.run(Client(address, "crm").lost())
