"""What can go wrong, as types."""

#: What may happen with a message that a worker can't do.
ACTIONS = ("retry", "block", "dead-letter")


class MubrokerError(Exception):
    """All errors of this library."""


class NoAnswer(MubrokerError):
    """Nothing was heard in time. The broker may have taken the message all the same: send it again with the same
    `id`, and it is there once."""

    def __init__(self, verb, id, seconds):
        super().__init__(f"no answer to {verb} within {seconds:g} s" + (f", id {id}" if id else ""))
        self.verb, self.id = verb, id


class Closed(MubrokerError):
    """The client was closed while the request was under way."""


class CallFailed(MubrokerError):
    """A call that ended without a reply: `status` is `failed`, `timeout` or `blocked`, `error` the worker's
    `{"code", "message", "detail"}` or None. After `timeout` and `blocked` the message is still in its queue."""

    def __init__(self, id, status, error):
        message = (error or {}).get("message")
        super().__init__(f"the call {id} ended as {status}" + (f": {message}" if message else ""))
        self.id, self.status, self.error = id, status, error


class Rejected(MubrokerError):
    """The broker refused a request: `code` of the protocol, `reason` (what, where, what to do), `id` of the message if
    it was about one, and `retry_after` in seconds if it may be better then."""

    code = None

    def __init__(self, header):
        super().__init__(header.get("reason", "no reason was given"))
        self.code = header.get("code", self.code)
        self.reason, self.id = str(self), header.get("id")
        after = header.get("retry_after_ms")
        self.retry_after = None if after is None else after / 1000


class Malformed(Rejected):
    code = "malformed"


class Unsupported(Rejected):
    code = "unsupported"


class Unauthorized(Rejected):
    code = "unauthorized"


class Forbidden(Rejected):
    code = "forbidden"


class NoSuchQueue(Rejected):
    code = "no_such_queue"


class TooLarge(Rejected):
    code = "too_large"


class SchemaMismatch(Rejected):
    code = "schema"


class Full(Rejected):
    code = "full"


class Busy(Rejected):
    code = "busy"


class Expired(Rejected):
    code = "expired"


class Draining(Rejected):
    code = "draining"


class Unroutable(Rejected):
    code = "unroutable"


class StoreUnavailable(Rejected):
    code = "store_unavailable"


class Internal(Rejected):
    code = "internal"


_BY_CODE = {kind.code: kind for kind in Rejected.__subclasses__()}


def rejected(header):
    """The exception for the header of a REJECTED."""
    return _BY_CODE.get(header.get("code"), Rejected)(header)


class Reject(Exception):
    """Raised by a worker's handler: this message can't be done, and what is to happen with it. `action` is `retry`
    (as the queue's settings say), `block` (an operator looks) or `dead-letter`; `delay` the pause before the next attempt in
    seconds; `code`, `message` and `detail` are what the operator sees."""

    def __init__(self, message, *, code="rejected", detail=None, action="retry", delay=None):
        if action not in ACTIONS:
            raise ValueError(f"the action {action!r} is none of {', '.join(ACTIONS)}")
        super().__init__(message)
        self.code, self.message, self.detail = code, message, detail
        self.action, self.delay = action, delay
