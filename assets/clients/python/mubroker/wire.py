"""MUB1 without sockets: frames, and which request an answer is for. Client and worker, synchronous or not, share it."""

import json
import logging
import math
import os
import socket
import sys
import traceback
import uuid
from collections import OrderedDict, deque

from .errors import ACTIONS, CallFailed, MubrokerError, Reject, rejected
from .results import Accepted, GatherAccepted, Gathered, Published, Reply, Started, Status

MAGIC = b"MUB1"
VERSION = "0.1.0"
CLIENTS = "tcp://127.0.0.1:5555"
WORKERS = "tcp://127.0.0.1:5556"
#: Bytes of a traceback that operators get: its end. With code and message it is within the broker's 8 KiB.
MAX_DETAIL = 4000
#: Bytes of a note, an alert, or an error's message: what the broker keeps of them.
MAX_NOTE = 1024
#: Alerts that wait for a connection, the newest.
MAX_ALERTS = 16
#: Bytes of a payload that the broker takes.
MAX_PAYLOAD = 16 * 1024 * 1024

log = logging.getLogger("mubroker")


def pack(verb, header, *payload):
    return [MAGIC, verb.encode(), json.dumps(header, ensure_ascii=False).encode(), *payload]


def unpack(frames):
    """Verb, header and the frames after it."""
    if len(frames) < 2 or frames[0] != MAGIC:
        raise MubrokerError(f"this is not MUB1: {frames[:2]!r}; is it the broker's address?")
    try:
        verb, header = frames[1].decode(), json.loads(frames[2]) if len(frames) > 2 and frames[2] else {}
    except ValueError as error:
        raise MubrokerError(f"the broker's {frames[1]!r} can't be read: {error}") from None
    if not isinstance(header, dict):
        raise MubrokerError(f"the broker's {verb} can't be read: its header is no object")
    return verb, header, frames[3:]


def to_bytes(payload):
    """Bytes stay as they are; text is UTF-8; anything else becomes JSON."""
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    return (payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)).encode()


def cut(text, most, end=False):
    """The first (or last) so many bytes of a text, as text that has UTF-8: of an object too, and of half a character nothing."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    whole = text.encode("utf-8", "replace")
    return (whole[-most:] if end else whole[:most]).decode("utf-8", "ignore")


class Request:
    """A request under way: its frames, so that it can be sent again, and how its answer is read."""

    def __init__(self, verb, header, *payload, id=None, read=None, on_part=None):
        self.verb, self.id, self.read, self.on_part = verb, id, read, on_part
        #: What a refusal may name.
        self.ids = [id]
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
    frames, ids = [], []
    for message in messages:
        header = dict(message)
        payload = to_bytes(header.pop("payload", b""))
        header.setdefault("id", str(uuid.uuid4()))
        ids.append(header["id"])
        frames += [json.dumps(header, ensure_ascii=False).encode(), payload]
    if not frames:
        raise ValueError("send_many needs at least one message")
    request = Request("SENDMANY", {}, id=ids[0])
    request.ids = list(dict.fromkeys(ids))
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
    is_configured, aggregate = "gather" in header, header.get("aggregate")
    request.read = lambda header, payload: _read_gathered(header, payload, is_configured, aggregate)
    return request


def _read_gathered(header, payload, is_configured, aggregate):
    if "recipients" in header:
        return GatherAccepted.of(header)
    gathered = dict(header)
    queues = gathered.pop("parts", [])
    # What a configured gather does only the broker knows; the number of frames tells it, unless one queue has replied.
    is_unknown = aggregate is None and is_configured
    if aggregate == "object" or (is_unknown and len(payload) == 1 and len(queues) != 1):
        return Gathered.of({**gathered, "parts": dict.fromkeys(queues, b""), "merged": payload[0]})
    return Gathered.of({**gathered, "parts": dict(zip(queues, payload))})


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
        for id in request.ids:
            self._ids.setdefault(id, []).append(request)

    def drop(self, request):
        if self._requests.pop(request, self) is None:
            for id in request.ids:
                same = self._ids[id]
                same.remove(request)
                if not same:
                    del self._ids[id]

    def take(self, frames):
        """Ends the request that this answers. What nobody waits for (any more) is passed over."""
        verb, header, payload = unpack(frames)
        try:
            request = self._find(verb, header)
        except (IndexError, KeyError, TypeError) as error:
            raise MubrokerError(f"the broker's {verb} can't be read: {error!r}") from None
        if request is None:
            return
        if verb == "REPLY" and header.get("status") == "part":
            self._part(request, payload[0] if payload else b"")
            return
        self.drop(request)
        try:
            if verb == "REJECTED":
                raise rejected(header)
            result = request.read(header, payload)
        except MubrokerError as error:
            request.done(None, error)
        except Exception as error:
            request.done(None, MubrokerError(f"an answer to {request.verb} can't be read: {error!r}"))
        else:
            request.done(result, None)

    def _part(self, request, part):
        try:
            if request.on_part:
                request.on_part(part)
        except Exception as error:
            # Its caller's mistake, and nobody else's.
            self.drop(request)
            request.done(None, error)

    def _find(self, verb, header):
        if verb == "REJECTED":
            return self._refused(header.get("id"))
        if "accepted" in header:
            return self._oldest(header["accepted"][0]["id"], {"SENDMANY"})
        has_id = verb in ("ACCEPTED", "REPLY", "STATUS")
        return self._oldest(header.get("id") if has_id else None, _ANSWERS.get(verb, set()) - {"SENDMANY"})

    def _refused(self, id):
        found = self._oldest(id, None)
        if found or id is not None:
            return found
        # It names nothing: a SENDMANY as a whole, or what couldn't be read, which is known only where there is nothing else.
        many = next((one for one in self._requests if one.verb == "SENDMANY"), None)
        return many or (next(iter(self._requests)) if len(self._requests) == 1 else None)

    def _oldest(self, id, verbs):
        found = (one for one in self._ids.get(id, ()) if verbs is None or one.verb in verbs)
        return next(found, None)


class Message:
    """What a worker is given. `header` has all fields of the message, `payload` its bytes."""

    def __init__(self, header, payload, say):
        self.header, self.payload, self._say = header, payload, say
        self.delivery, self.id = header["delivery"], header.get("id")
        self.queue, self.seq, self.attempt = header["queue"], header["seq"], header["attempt"]
        #: The broker has given it to somebody else or ended it: what the handler returns is not counted any more.
        self.is_stale = False
        #: The broker doesn't know us as who was given it: nothing is said of it any more.
        self.is_forgotten = False

    def json(self):
        return json.loads(self.payload)

    def progress(self, note, extend=None):
        """Tells operators how far it is; `extend`: the lease lasts so many seconds from now."""
        extend = {} if extend is None else {"extend_ms": _ms(extend)}
        self._say(self, pack("PROGRESS", {"delivery": self.delivery, "note": cut(note, MAX_NOTE), **extend}))

    def part(self, payload):
        """A part of the reply, for callers that asked for parts."""
        self._say(self, pack("PARTIAL", {"delivery": self.delivery}, to_bytes(payload)))

    def alert(self, kind, message):
        """Tells operators that something is wrong."""
        said = {"kind": cut(kind, MAX_NOTE), "message": cut(message, MAX_NOTE)}
        self._say(self, pack("ALERT", {**said, "delivery": self.delivery}))


def _ms(seconds):
    """Whole ms, as the broker takes them."""
    return max(0, round(seconds * 1000))


def ack(message, reply):
    reply = b"" if reply is None else to_bytes(reply)
    if len(reply) > MAX_PAYLOAD:
        # Refused it would never be counted, and the message would be held.
        raise ValueError(f"the reply has {len(reply)} bytes, {MAX_PAYLOAD} are allowed")
    return pack("ACK", {"delivery": message.delivery}, reply)


def nack(message, error):
    """`error` is a handler's exception: the operator sees its message, and the end of its traceback. It never raises: what isn't
    told would be held."""
    try:
        said = _refusal(error)
    except BaseException as why:
        said = {"error": {"code": cut(type(error).__name__, MAX_NOTE), "message": f"it can't be told ({type(why).__name__})"}}
        said["action"] = error.action if isinstance(error, Reject) and error.action in ACTIONS else "retry"
    return pack("NACK", {"delivery": message.delivery, **said})


def _refusal(error):
    if not isinstance(error, Reject):
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        code = type(error).__name__
        error = Reject(str(error) or code, code=code, detail=cut("".join(lines), MAX_DETAIL, end=True))
    said = {"code": cut(error.code, MAX_NOTE), "message": cut(error.message, MAX_NOTE)}
    if error.detail is not None:
        said["detail"] = cut(error.detail, MAX_DETAIL)
    refusal = {"error": said, "action": ACTIONS[ACTIONS.index(error.action)]}
    if error.delay is not None:
        refusal["delay_ms"] = _ms(error.delay)
    return refusal


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
    #: A lease is extended each time that this part of it is over: once may be late or lost.
    PART = 1 / 3

    def __init__(self, queues, credit, name, max_execution):
        queues = [queues] if isinstance(queues, str) else list(queues)
        self._ready = {"queues": queues, "credit": credit, "worker": info(name, max_execution)}
        self._max_execution = max_execution
        #: By delivery: the message, when it began, when its lease must be extended.
        self.held = {}
        self.heard = 0.0
        self._alerts = deque(maxlen=MAX_ALERTS)
        self._ready_at = None
        #: Something else than a refusal was heard since READY: what is refused now is not READY.
        self._is_taken = False
        #: No more is taken; over when nothing is held.
        self.is_leaving = False
        self.is_over = False

    def ready(self, now):
        """What to say on a new connection."""
        self.heard, self._ready_at, self._is_taken = now, None, False
        return pack("BYE", {}) if self.is_leaving else pack("READY", self._ready)

    def take(self, frames, now, say, say_of_message):
        """What the broker says; a message to be worked on, or None. `say_of_message(message, frames)` is for its handler, in
        whatever thread. Raises what can't be mended: a READY that is refused, or somebody who isn't the broker."""
        self.heard = now
        try:
            return self._take(*unpack(frames), now, say, say_of_message)
        except (MubrokerError, KeyError, TypeError, ValueError) as error:
            if not self._is_taken:
                raise
            log.warning("the broker refused something, or can't be understood: %r", error)
            return None

    def _take(self, verb, header, payload, now, say, say_of_message):
        self._is_taken = self._is_taken or verb != "REJECTED"
        if verb == "DELIVER":
            message = Message(header, payload[0] if payload else b"", say_of_message)
            lease = header["deadline_ms"] / 1000
            self.held[message.delivery] = (message, now, now + lease * self.PART, lease)
            return message
        if verb == "HEARTBEAT":
            say(pack("HEARTBEAT", {}))
        elif verb == "STALE" and header["delivery"] in self.held:
            self.held[header["delivery"]][0].is_stale = True
        elif verb in ("PAUSE", "RESUME"):
            log.info("%s: %s", "nothing comes for now" if verb == "PAUSE" else "messages come again", header.get("reason"))
        elif verb in ("DRAIN", "RESTART"):
            self.leave(say)
        elif verb == "BYE" and self.is_leaving:
            self.is_over = True
        elif verb == "BYE":
            # It has forgotten us: its store was opened again, or it took us for dead.
            for held in self.held.values():
                held[0].is_stale = held[0].is_forgotten = True
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
        # A stale one too: the broker keeps its place in our credit until it is told.
        return not message.is_forgotten

    def pass_on(self, message, frames, say):
        """Says what a handler has said, if the broker still knows us; an alert waits until it does."""
        if frames[1] == b"ALERT":
            self._alerts.append(frames)
            self._say_alerts(say)
        elif not message.is_forgotten:
            say(frames)

    def _say_alerts(self, say):
        while self._alerts and self._ready_at is None and say(self._alerts[0]):
            self._alerts.popleft()

    def tick(self, now, say):
        """Keeps leases of what runs, says what has waited, and comes back where the broker has forgotten us."""
        if self._ready_at is not None and now >= self._ready_at:
            say(self.ready(now))
        self._say_alerts(say)
        for delivery, (message, began, extend_at, lease) in list(self.held.items()):
            if now < extend_at or message.is_stale:
                continue
            left = math.inf if self._max_execution is None else began + self._max_execution - now
            if left > 0:
                say(pack("PROGRESS", {"delivery": delivery, "extend_ms": _ms(min(lease, left)), "note": ""}))
            self.held[delivery] = (message, began, now + lease * self.PART if left > 0 else math.inf, lease)

    def rest(self, now, most):
        """How long nothing need be looked at, in seconds: until the next lease must be extended."""
        due = (extend_at for message, _, extend_at, _ in self.held.values() if not message.is_stale)
        return max(0.0, min(most, min(due, default=math.inf) - now))

    def is_silent(self, now):
        return now - self.heard > self.SILENCE
