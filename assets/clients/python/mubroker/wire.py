"""MUB1 without sockets: frames, and which request an answer is for. Client and worker, synchronous or not, share it."""

import json
import os
import socket
import sys
import traceback
import uuid
from collections import OrderedDict

from .errors import CallFailed, MubrokerError, Reject, rejected
from .results import Accepted, Gathered, Published, Reply, Started, Status

MAGIC = b"MUB1"
VERSION = "0.1.0"
CLIENTS = "tcp://127.0.0.1:5555"
WORKERS = "tcp://127.0.0.1:5556"
#: Characters of a traceback that operators get: its end.
MAX_DETAIL = 4000


def pack(verb, header, *payload):
    return [MAGIC, verb.encode(), json.dumps(header, ensure_ascii=False).encode(), *payload]


def unpack(frames):
    """Verb, header and the frames after it."""
    if len(frames) < 2 or frames[0] != MAGIC:
        raise MubrokerError(f"this is not MUB1: {frames[:2]!r}; is it the broker's address?")
    header = json.loads(frames[2]) if len(frames) > 2 and frames[2] else {}
    return frames[1].decode(), header, frames[3:]


def to_bytes(payload):
    """Bytes stay as they are; text is UTF-8; anything else becomes JSON."""
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    return (payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)).encode()


class Request:
    """A request under way: its frames, so that it can be sent again, and how its answer is read."""

    def __init__(self, verb, header, *payload, id=None, read=None, on_part=None):
        self.verb, self.id, self.read, self.on_part = verb, id, read, on_part
        self.frames = pack(verb, header, *payload)
        #: Set by whoever waits: called once, with a result and None, or None and an exception.
        self.done = None


def _message(verb, where, payload, id, header):
    # An id of ours: sent again after a lost connection the message is still there once.
    id = id or str(uuid.uuid4())
    return Request(verb, {**where, "id": id, **header}, to_bytes(payload), id=id)


def send(queue, payload, id, header):
    request = _message("SEND", {"queue": queue}, payload, id, header)
    request.read = lambda header, _: Accepted.of(header)
    return request


def send_many(messages):
    frames, first = [], None
    for message in messages:
        header = dict(message)
        payload = to_bytes(header.pop("payload", b""))
        header.setdefault("id", str(uuid.uuid4()))
        first = first or header["id"]
        frames += [json.dumps(header, ensure_ascii=False).encode(), payload]
    if not frames:
        raise ValueError("send_many needs at least one message")
    request = Request("SENDMANY", {}, id=first)
    request.frames[2:] = frames
    request.read = lambda header, _: [Accepted.of(one) for one in header["accepted"]]
    return request


def publish(topic, payload, id, header):
    request = _message("PUBLISH", {"topic": topic}, payload, id, header)
    request.read = lambda header, _: Published.of(header)
    return request


def start(saga, payload, id, header):
    request = _message("START", {"saga": saga}, payload, id, header)
    request.read = lambda header, _: Started.of(header)
    return request


def call(queue, payload, timeout, id, on_part, header):
    where = {"queue": queue, "timeout_ms": int(timeout * 1000), **({"parts": True} if on_part else {})}
    request = _message("CALL", where, payload, id, header)
    request.read, request.on_part = _read_reply, on_part
    return request


def _read_reply(header, payload):
    if header["status"] != "ok":
        raise CallFailed(header.get("id"), header["status"], header.get("error"))
    return Reply(header["id"], payload[0] if payload else b"")


def gather(payload, timeout, id, header):
    request = _message("GATHER", {"timeout_ms": int(timeout * 1000)}, payload, id, header)
    request.read = _read_gathered
    return request


def _read_gathered(header, payload):
    gathered = dict(header)
    queues = gathered.pop("parts", [])
    if len(payload) == len(queues):
        return Gathered.of({**gathered, "parts": dict(zip(queues, payload))})
    return Gathered.of({**gathered, "parts": dict.fromkeys(queues, b""), "merged": payload[0]})


def status(id, queue, with_reply):
    header = {"id": id, **({"queue": queue} if queue else {}), **({"reply": True} if with_reply else {})}
    request = Request("STATUS", header, id=id)
    # With a kept reply, the header's `reply` says how the call ended.
    request.read = lambda header, payload: Status.of({**header, "reply": payload[0] if payload else None})
    return request


def subscribe(topic, queue, filter, on_error):
    header = {"topic": topic, "queue": queue}
    header.update({name: value for name, value in (("filter", filter), ("on_error", on_error)) if value})
    request = Request("SUBSCRIBE", header)
    request.read = lambda *_: None
    return request


def unsubscribe(topic, queue):
    request = Request("UNSUBSCRIBE", {"topic": topic, "queue": queue})
    request.read = lambda *_: None
    return request


def ping():
    request = Request("PING", {})
    request.read = lambda *_: None
    return request


def hello():
    request = Request("HELLO", {"client": "mubroker-python", "version": VERSION})
    request.read = lambda header, _: header
    return request


#: Which requests an answer may be for.
_ANSWERS = {
    "ACCEPTED": {"SEND", "SENDMANY", "PUBLISH", "START", "GATHER"},
    "REPLY": {"CALL", "GATHER"},
    "STATUS": {"STATUS"},
    "SUBSCRIBED": {"SUBSCRIBE"},
    "UNSUBSCRIBED": {"UNSUBSCRIBE"},
    "PONG": {"PING"},
    "WELCOME": {"HELLO"},
}


class Pending:
    """Requests under way, the oldest first."""

    def __init__(self):
        self._requests = OrderedDict()
        self._ids = {}

    def __len__(self):
        return len(self._requests)

    def __iter__(self):
        return iter(list(self._requests))

    def add(self, request):
        self._requests[request] = None
        self._ids.setdefault(request.id, []).append(request)

    def drop(self, request):
        if self._requests.pop(request, self) is None:
            same = self._ids[request.id]
            same.remove(request)
            if not same:
                del self._ids[request.id]

    def take(self, frames):
        """Ends the request that this answers. What nobody waits for (any more) is passed over."""
        verb, header, payload = unpack(frames)
        request = self._find(verb, header)
        if request is None:
            return
        if verb == "REPLY" and header.get("status") == "part":
            if request.on_part:
                request.on_part(payload[0] if payload else b"")
            return
        self.drop(request)
        try:
            if verb == "REJECTED":
                raise rejected(header)
            result = request.read(header, payload)
        except MubrokerError as error:
            request.done(None, error)
        except (KeyError, TypeError, ValueError) as error:
            request.done(None, MubrokerError(f"an answer to {request.verb} can't be read: {error!r}"))
        else:
            request.done(result, None)

    def _find(self, verb, header):
        if verb == "REJECTED":
            # One that names no message, or a further one of a SENDMANY, is for the oldest that it can be for.
            return self._oldest(header.get("id"), None) or self._oldest_other(header.get("id"))
        id = header["accepted"][0]["id"] if "accepted" in header else header.get("id")
        return self._oldest(id if verb in ("ACCEPTED", "REPLY", "STATUS") else None, _ANSWERS.get(verb, ()))

    def _oldest(self, id, verbs):
        found = (one for one in self._ids.get(id, ()) if verbs is None or one.verb in verbs)
        return next(found, None)

    def _oldest_other(self, id):
        fits = (lambda one: one.verb == "SENDMANY") if id else (lambda one: True)
        return next((one for one in self._requests if fits(one)), None)


class Message:
    """What a worker is given. `header` has all fields of the message, `payload` its bytes."""

    def __init__(self, header, payload, say):
        self.header, self.payload, self._say = header, payload, say
        self.delivery, self.id = header["delivery"], header.get("id")
        self.queue, self.seq, self.attempt = header["queue"], header["seq"], header["attempt"]
        #: The broker has given it to somebody else or ended it: what the handler returns is not counted any more.
        self.is_stale = False

    def json(self):
        return json.loads(self.payload)

    def progress(self, note, extend=None):
        """Tells operators how far it is; `extend`: the lease lasts so many seconds from now."""
        extend = {} if extend is None else {"extend_ms": int(extend * 1000)}
        self._say(pack("PROGRESS", {"delivery": self.delivery, "note": note, **extend}))

    def part(self, payload):
        """A part of the reply, for callers that asked for parts."""
        self._say(pack("PARTIAL", {"delivery": self.delivery}, to_bytes(payload)))

    def alert(self, kind, message):
        """Tells operators that something is wrong."""
        self._say(pack("ALERT", {"kind": kind, "message": message, "delivery": self.delivery}))


def ack(message, reply):
    return pack("ACK", {"delivery": message.delivery}, b"" if reply is None else to_bytes(reply))


def nack(message, error):
    """`error` is a handler's exception: the operator sees its message, and the end of its traceback."""
    if not isinstance(error, Reject):
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        code = type(error).__name__
        error = Reject(str(error) or code, code=code, detail="".join(lines)[-MAX_DETAIL:])
    said = {"code": error.code, "message": error.message}
    if error.detail is not None:
        said["detail"] = error.detail
    header = {"delivery": message.delivery, "error": said, "action": error.action}
    if error.delay is not None:
        header["delay_ms"] = int(error.delay * 1000)
    return pack("NACK", header)


def info(name, max_execution):
    """What a worker says of itself."""
    own = {"name": name or os.path.basename(sys.argv[0]) or "python", "pid": os.getpid()}
    own.update({"host": socket.gethostname(), "version": VERSION})
    if max_execution is not None:
        own["max_execution_ms"] = int(max_execution * 1000)
    return own


class Duty:
    """A worker's side of the protocol: what it holds, and when the connection must be made anew."""

    #: Without a frame for so long, in seconds, the broker is gone. It says something every 2.5 s.
    SILENCE = 7.5
    #: Before READY is said again where the broker has forgotten us, in seconds.
    PAUSE = 0.5

    def __init__(self, queues, credit, name, max_execution):
        queues = [queues] if isinstance(queues, str) else list(queues)
        self._ready = {"queues": queues, "credit": credit, "worker": info(name, max_execution)}
        self._max_execution = max_execution
        #: By delivery: the message, when it began, when its lease must be extended.
        self.held = {}
        self.heard = 0.0
        self._ready_at = None
        #: No more is taken; over when nothing is held.
        self.is_leaving = False
        self.is_over = False

    def ready(self, now):
        """What to say on a new connection."""
        self.heard, self._ready_at = now, None
        return pack("BYE", {}) if self.is_leaving else pack("READY", self._ready)

    def take(self, frames, now, say, say_of_message):
        """What the broker says; a message to be worked on, or None. `say_of_message` is for its handler, in whatever thread."""
        self.heard = now
        verb, header, payload = unpack(frames)
        if verb == "DELIVER":
            message = Message(header, payload[0] if payload else b"", say_of_message)
            lease = header["deadline_ms"] / 1000
            self.held[message.delivery] = (message, now, now + lease / 2, lease)
            return message
        if verb == "HEARTBEAT":
            say(pack("HEARTBEAT", {}))
        elif verb == "STALE" and header["delivery"] in self.held:
            self.held[header["delivery"]][0].is_stale = True
        elif verb in ("DRAIN", "RESTART"):
            self.leave(say)
        elif verb == "BYE" and self.is_leaving:
            self.is_over = True
        elif verb == "BYE":
            # It has forgotten us: its store was opened again, or it took us for dead.
            for held in self.held.values():
                held[0].is_stale = True
            self._ready_at = now + self.PAUSE
        elif verb == "REJECTED":
            raise rejected(header)
        return None

    def leave(self, say):
        """Takes nothing more."""
        if not self.is_leaving:
            self.is_leaving = True
            say(pack("BYE", {}))

    def end(self, message):
        """The handler is done with it; whether to say how."""
        self.held.pop(message.delivery, None)
        return not message.is_stale

    def tick(self, now, say):
        """Keeps leases of what runs, and comes back where the broker has forgotten us."""
        if self._ready_at is not None and now >= self._ready_at:
            say(self.ready(now))
        for delivery, (message, began, extend_at, lease) in list(self.held.items()):
            if now < extend_at or message.is_stale:
                continue
            left = None if self._max_execution is None else began + self._max_execution - now
            if left is None or left > 0:
                extend = lease if left is None else min(lease, left)
                say(pack("PROGRESS", {"delivery": delivery, "extend_ms": int(extend * 1000), "note": ""}))
                self.held[delivery] = (message, began, now + lease / 2, lease)

    def is_silent(self, now):
        return now - self.heard > self.SILENCE
