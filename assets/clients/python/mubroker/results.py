"""What the broker answers."""

import json
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Optional


class _Answer:
    @classmethod
    def of(cls, header):
        """Fields that this version doesn't know are passed over."""
        return cls(**{one.name: header[one.name] for one in fields(cls) if one.name in header})


@dataclass(frozen=True)
class Accepted(_Answer):
    """It is durable. `duplicate`: it was there already, at this place."""

    id: str
    queue: str
    seq: int
    duplicate: bool = False


@dataclass(frozen=True)
class Published(_Answer):
    """It is durable in so many queues."""

    id: str
    topic: str
    queues: int
    duplicate: bool = False


@dataclass(frozen=True)
class Started(_Answer):
    """The saga is durable, with its first step's message."""

    id: str
    saga: str
    duplicate: bool = False


@dataclass(frozen=True)
class Reply(_Answer):
    """A worker's reply."""

    id: str
    payload: bytes = b""

    def json(self):
        return json.loads(self.payload)


@dataclass(frozen=True)
class Gathered(_Answer):
    """Replies by queue. `status` is `complete`, `quorum` or `partial`; `missing` says of each who has not replied
    `{"queue", "seq", "code", "message"}`. With `aggregate = "object"` there is one payload, in `merged`, and `parts` has the queues
    only. Whether a configured gather aggregates only the broker knows: unless the request says it, the one reply of the one
    queue is in `parts`."""

    id: str
    status: str
    parts: Dict[str, bytes] = field(default_factory=dict)
    missing: List[Dict[str, Any]] = field(default_factory=list)
    condition_error: Optional[str] = None
    merged: Optional[bytes] = None


@dataclass(frozen=True)
class GatherAccepted(_Answer):
    """A gather with `reply_to` is durable: so many are asked, and what they say comes to that queue."""

    id: str
    recipients: int
    duplicate: bool = False


@dataclass(frozen=True)
class Status(_Answer):
    """Where a message is. `reply` is the kept reply, if it was asked for and there is one."""

    id: str
    state: str
    queue: Optional[str] = None
    seq: Optional[int] = None
    attempt: Optional[int] = None
    error: Optional[Dict[str, Any]] = None
    reply: Optional[bytes] = None
