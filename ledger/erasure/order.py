"""One erasure that the log orders, by itself: whoever only compares with it need not know what an event is."""

from datetime import datetime
from typing import NamedTuple


class Order(NamedTuple):
    """An erasure in effect: the leaf of its request, when that was recorded, how often it was completed."""

    customer_id: str
    leaf_index: int
    requested_at: datetime
    completions: int
