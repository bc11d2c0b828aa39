"""The connection to NATS over TLS: under a `tls://` address nothing is said in the clear, nor to a server not trusted.

nats-py speaks in the clear, the password first, where the server under such an address offers no TLS; and where the
handshake of a first connection fails, it waits for ever for the end of what never began, without a word.
"""

import re
import ssl
from typing import Any

from nats.aio.client import Client


class NotTrusted(Exception):
    """The server is not the one that the address asks for; the message says why and what to do."""


class TrustingClient(Client):
    """A connection that begins with NotTrusted where TLS fails. One that is lost tries again for ever, as by others."""

    async def close(self) -> None:
        if self._flush_queue is not None:  # where the address was none, nothing began that could be closed
            await super().close()

    async def _process_connect_init(self) -> None:
        first = not self.is_reconnecting
        try:
            await super()._process_connect_init()
        except OSError as error:
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
                self._transport = None  # the end of a connection whose handshake failed is not told
            if first and isinstance(error, ssl.SSLError):
                raise NotTrusted(_sentence(error)) from error
            raise

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        assert self._current_server is not None
        if initial_connection and self._current_server.uri.scheme == "tls" and not info.get("tls_required"):
            raise ssl.SSLError("it does not insist on TLS")
        await super()._process_info(info, initial_connection)


async def connect(broker_url: str, **options: Any) -> TrustingClient:
    """As `nats.connect`. Raises NotTrusted as well."""
    client = TrustingClient()
    await client.connect(broker_url, **options)
    return client


def shown(broker_url: str) -> str:
    """The address as it may be shown and logged: without the login that may stand in it."""
    return re.sub(r"//[^,]*@", "//", broker_url)


def _sentence(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"NATS shows a certificate that is not trusted ({error.verify_message.rstrip('.')}): renew it, or let "
            "SSL_CERT_FILE name the file of the authority that signed it"
        )
    return f"no TLS connection to NATS comes about ({error.args[-1]}): look at the option `tls` of that server"
