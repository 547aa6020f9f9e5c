"""mubroker from Python: durable queues, calls, events, gathers and sagas; see README.md.

    import mubroker

    with mubroker.Client() as client:
        print(client.send("invoices", {"total": 42}))

`mubroker.aio` has the same for asyncio.
"""

from .client import Client
from .errors import (
    Busy, CallFailed, Closed, Draining, Expired, Forbidden, Full, Internal, Malformed, MubrokerError, NoAnswer, NoSuchQueue,
    Reject, Rejected, SchemaMismatch, StoreUnavailable, TooLarge, Unauthorized, Unroutable, Unsupported,
)
from .results import Accepted, GatherAccepted, Gathered, Published, Reply, Started, Status
from .wire import VERSION as __version__
from .wire import Message
from .worker import Worker

__all__ = [
    "Accepted", "Busy", "CallFailed", "Client", "Closed", "Draining", "Expired", "Forbidden", "Full", "GatherAccepted", "Gathered",
    "Internal", "Malformed", "Message", "MubrokerError", "NoAnswer", "NoSuchQueue", "Published", "Reject", "Rejected", "Reply",
    "SchemaMismatch", "Started", "Status", "StoreUnavailable", "TooLarge", "Unauthorized", "Unroutable", "Unsupported", "Worker",
]
