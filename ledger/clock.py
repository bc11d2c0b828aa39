"""What time it is: passed in everywhere, so that tests can say."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, in UTC. The ledger never lets recorded_at fall behind the last one, whatever this says."""
    return datetime.now(UTC)
