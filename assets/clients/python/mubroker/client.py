"""The client: sends messages and waits until they are durable."""

import threading
import time
from contextlib import contextmanager

import zmq

from . import wire
from .errors import Closed, NoAnswer
from .link import BlockingLink

#: Without an answer for so long, in seconds, a request is sent again. With its id it is done once.
AGAIN = 5.0
#: How often it is looked for those, in seconds: not at each of many thousand sends.
LOOK = 1.0


class Client:
    """A connection to the broker, for one thread at a time.

    `timeout`: how long a request may take, in seconds, beside what a call itself waits. Lost connections are made
    again, and what was under way is sent again with its id, so that it is there once (as far as the queue's
    de-duplication window reaches). After the time `NoAnswer` is raised.
    """

    def __init__(self, address=wire.CLIENTS, *, timeout=30.0):
        self.timeout = timeout
        self._pending = wire.Pending()
        self._link = BlockingLink(address)
        self._poller = zmq.Poller()
        self._poller.register(self._link.socket, zmq.POLLIN)
        self._poller.register(self._link.monitor, zmq.POLLIN)
        self._user = threading.Lock()
        self._look_at = 0.0

    def send(self, queue, payload, *, id=None, **header):
        """Puts a message into a queue; returns `Accepted` once it is durable.

        `payload` is bytes, text, or what becomes JSON. `header` has the protocol's fields: `key`, `type`, `priority`, `ttl_ms`,
        `delay_ms`, `reply_to`, `headers` (your own map) and so on.
        """
        return self._ask(wire.send(queue, payload, id, header))

    def send_many(self, messages):
        """All or none, in one commit: headers with `queue` and `payload`. A list of `Accepted` in the same order."""
        return self._ask(wire.send_many(messages))

    def publish(self, topic, payload, *, id=None, **header):
        """An event for all subscriptions that take it; returns `Published` once it is durable in each queue."""
        return self._ask(wire.publish(topic, payload, id, header))

    def call(self, queue, payload, *, timeout=30.0, id=None, on_part=None, **header):
        """Sends a message and waits for its `Reply`; `CallFailed` if it ends otherwise. Called again with the same `id`
        it waits on, or gives the reply that was kept. `on_part(bytes)` gets what the worker sends before its end; it can't use
        this client, and what it raises ends the call."""
        return self._ask(wire.call(queue, payload, timeout, id, on_part, header), timeout)

    def gather(self, payload, *, recipients=None, gather=None, timeout=30.0, id=None, **header):
        """Asks several queues (`recipients`, or those of a configured `gather`); `Gathered` at the end. With `reply_to` it is for
        that queue: `GatherAccepted` once it is durable."""
        header.update({"recipients": recipients} if gather is None else {"gather": gather})
        return self._ask(wire.gather(payload, timeout, id, header), timeout)

    def start(self, saga, payload, *, id=None, **header):
        """Starts a saga; returns `Started` once it is durable."""
        return self._ask(wire.start(saga, payload, id, header))

    def status(self, id, *, queue=None, with_reply=False):
        """Where a message is: `Status`."""
        return self._ask(wire.status(id, queue, with_reply))

    def subscribe(self, topic, queue, *, filter=None, on_error=None):
        """From now on the queue gets the topic's events that the CEL `filter` lets through; it survives a restart."""
        self._ask(wire.subscribe(topic, queue, filter, on_error))

    def unsubscribe(self, topic, queue):
        self._ask(wire.unsubscribe(topic, queue))

    def ping(self):
        self._ask(wire.ping())

    def hello(self):
        """The broker's version and limits."""
        return self._ask(wire.hello())

    @contextmanager
    def window(self, size=1000):
        """Many messages without waiting for each: `with client.window() as window: window.send(queue, payload)`. At most
        `size` are under way; at its end all are durable, or the first error is raised, and the rest is given up."""
        window = Window(self, size)
        try:
            yield window
            window.wait()
        finally:
            window.drop()

    def close(self):
        """What is under way is given up."""
        with self._alone():
            for request in self._pending:
                self._pending.drop(request)
            self._link.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ask(self, request, beside=0.0):
        ended = []
        request.done = lambda result, error: ended.append((result, error))
        with self._alone():
            self._begin(request)
            try:
                self._wait(lambda: ended, request, self.timeout + beside)
            finally:
                self._pending.drop(request)
        result, error = ended[0]
        if error is not None:
            raise error
        return result

    @contextmanager
    def _alone(self):
        """Before anything is touched: the socket and what is under way are for one thread, and not for on_part."""
        if not self._user.acquire(blocking=False):
            raise RuntimeError("a Client is for one thread at a time, and not for on_part of its own call; give each its own")
        try:
            yield
        finally:
            self._user.release()

    def _begin(self, request):
        if self._link.socket.closed:
            raise Closed("the client is closed")
        self._send_again()
        self._pending.add(request)
        self._offer(request)

    def _send_again(self):
        """What a new connection has not heard yet, and what has had no answer for long."""
        is_new, now = self._link.is_new(), time.monotonic()
        if not is_new and now < self._look_at:
            return
        self._look_at = now + LOOK
        for request in self._pending:
            if is_new or now - request.sent_at > AGAIN:
                self._offer(request)

    def _offer(self, request):
        request.sent_at = time.monotonic()
        self._link.offer(request.frames)

    def _wait(self, is_met, asked, seconds):
        """Takes in what comes until the condition is met."""
        until = time.monotonic() + seconds
        while not is_met():
            now = time.monotonic()
            if now >= until:
                raise NoAnswer(asked.verb, asked.id, seconds)
            self._poller.poll(max(1, int(min(until - now, LOOK) * 1000)))
            for frames in self._link.received():
                self._pending.take(frames)
            self._send_again()


class Window:
    """Messages under way; made by `Client.window`."""

    def __init__(self, client, size):
        if size < 1:
            raise ValueError("a window needs room for one message")
        self._client, self._size, self._error = client, size, None
        # The oldest first.
        self._under_way = {}

    def send(self, queue, payload, *, id=None, **header):
        self._add(wire.send(queue, payload, id, header))

    def publish(self, topic, payload, *, id=None, **header):
        self._add(wire.publish(topic, payload, id, header))

    def wait(self):
        """Until all are durable."""
        with self._client._alone():
            self._until(0)

    def drop(self):
        """Gives up what is under way: it isn't sent again. What was sent may be there all the same."""
        with self._client._alone():
            for request in self._under_way:
                self._client._pending.drop(request)
            self._under_way.clear()

    def _add(self, request):
        request.done = lambda _, error: self._done(request, error)
        with self._client._alone():
            self._client._begin(request)
            self._under_way[request] = None
            self._until(self._size - 1)

    def _done(self, request, error):
        del self._under_way[request]
        self._error = self._error or error

    def _until(self, most):
        while len(self._under_way) > most and not self._error:
            before = len(self._under_way)
            # The time is for one message, not for all.
            moved = lambda: len(self._under_way) < before or self._error
            self._client._wait(moved, next(iter(self._under_way)), self._client.timeout)
        if self._error:
            error, self._error = self._error, None
            raise error
