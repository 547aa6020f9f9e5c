"""The same for asyncio: every wait is an `await`, and one `Client` serves any number of tasks."""

import asyncio
import time

import zmq
import zmq.asyncio

from . import wire
from .client import AGAIN
from .errors import Closed, NoAnswer
from .link import Link
from .worker import TICK


class _AsyncLink(Link):
    def __init__(self, address):
        super().__init__(address, zmq.asyncio.Context.instance())

    def offer(self, frames):
        """Sends it, if there is a connection that was told of; whether there is. Nothing is awaited: the socket has no high-water
        mark."""
        is_taken = self.is_connected and bool(zmq.Socket.shadow(self.socket).poll(0, zmq.POLLOUT))
        if is_taken:
            self.socket.send_multipart(frames)
        return is_taken

    async def hear(self, on_frames, on_connection):
        """Passes on what comes, and new connections, until it is cancelled."""
        hear = [self._hear(self.socket, on_frames), self._hear(self.monitor, self._event(on_connection))]
        ears = [asyncio.ensure_future(one) for one in hear]
        try:
            await asyncio.gather(*ears)
        finally:
            # Of two the other one too: its socket is closed next.
            await _cancel(ears)

    def _event(self, on_connection):
        return lambda frames: on_connection() if self.heard(frames) else None

    @staticmethod
    async def _hear(socket, on_frames):
        while True:
            on_frames(await socket.recv_multipart())


class Client:
    """A connection to the broker, for any number of tasks: `async with Client() as client`. Methods and errors are those of
    `mubroker.Client`; at most `window` requests are under way, further ones wait."""

    def __init__(self, address=wire.CLIENTS, *, timeout=30.0, window=1000):
        self.timeout = timeout
        self._pending = wire.Pending()
        self._room = asyncio.Semaphore(window)
        self._address, self._link, self._tasks = address, None, []
        # Why nothing is heard any more.
        self._failure = None

    async def send(self, queue, payload, *, id=None, **header):
        return await self._ask(wire.send(queue, payload, id, header))

    async def send_many(self, messages):
        return await self._ask(wire.send_many(messages))

    async def publish(self, topic, payload, *, id=None, **header):
        return await self._ask(wire.publish(topic, payload, id, header))

    async def call(self, queue, payload, *, timeout=30.0, id=None, on_part=None, **header):
        return await self._ask(wire.call(queue, payload, timeout, id, on_part, header), timeout)

    async def gather(self, payload, *, recipients=None, gather=None, timeout=30.0, id=None, **header):
        header.update({"recipients": recipients} if gather is None else {"gather": gather})
        return await self._ask(wire.gather(payload, timeout, id, header), timeout)

    async def start(self, saga, payload, *, id=None, **header):
        return await self._ask(wire.start(saga, payload, id, header))

    async def status(self, id, *, queue=None, with_reply=False):
        return await self._ask(wire.status(id, queue, with_reply))

    async def subscribe(self, topic, queue, *, filter=None, on_error=None):
        await self._ask(wire.subscribe(topic, queue, filter, on_error))

    async def unsubscribe(self, topic, queue):
        await self._ask(wire.unsubscribe(topic, queue))

    async def ping(self):
        await self._ask(wire.ping())

    async def hello(self):
        return await self._ask(wire.hello())

    async def __aenter__(self):
        self._link, self._failure = _AsyncLink(self._address), None
        self._tasks = [
            asyncio.ensure_future(self._link.hear(self._take, self._send_again)),
            asyncio.ensure_future(self._repeat()),
        ]
        self._tasks[0].add_done_callback(self._ear_ended)
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        """What is under way, or waits for its turn, fails as `Closed`."""
        # First: who gets its turn by the end of another looks at it.
        self._failure = self._failure or Closed("the client was closed")
        await _cancel(self._tasks)
        self._fail()
        if self._link:
            self._link.close()

    def _fail(self):
        for request in self._pending:
            self._pending.drop(request)
            request.done(None, self._failure)

    def _take(self, frames):
        try:
            self._pending.take(frames)
        except Exception as error:
            wire.log.warning("what the broker said is passed over: %r", error)

    def _ear_ended(self, ear):
        if not ear.cancelled():
            self._failure = self._failure or Closed(f"the client hears nothing any more: {ear.exception()!r}")
            self._fail()

    def _look(self):
        if self._failure:
            raise self._failure
        if self._link is None:
            raise Closed("the client is not open; use it as `async with Client() as client`")

    async def _ask(self, request, beside=0.0):
        self._look()
        ended = asyncio.get_running_loop().create_future()
        request.done = lambda result, error: ended.done() or _end(ended, result, error)
        async with self._room:
            self._look()
            self._pending.add(request)
            self._offer(request)
            try:
                return await asyncio.wait_for(ended, self.timeout + beside)
            except asyncio.TimeoutError:
                raise NoAnswer(request.verb, request.id, self.timeout + beside) from None
            finally:
                self._pending.drop(request)

    def _offer(self, request):
        request.sent_at = time.monotonic()
        self._link.offer(request.frames)

    def _send_again(self):
        for request in self._pending:
            self._offer(request)

    async def _repeat(self):
        while True:
            await asyncio.sleep(AGAIN / 5)
            now = time.monotonic()
            for request in self._pending:
                if now - request.sent_at > AGAIN:
                    self._offer(request)


class Worker:
    """As `mubroker.Worker`, with `async def handler(message)`: up to `credit` of them run at once, as tasks."""

    def __init__(self, queues, handler, *, address=wire.WORKERS, credit=1, name=None, max_execution=None):
        self._handler, self._address = handler, address
        self._duty = wire.Duty(queues, credit, name, max_execution)
        # Has a result when something has changed; cancelled when `run` is.
        self._changed, self._leaves, self._link = None, False, None
        self._running, self._is_ending = set(), False

    async def run(self):
        """Works until `stop()` or until the broker asks it to leave: what runs is finished and told, nothing more is taken.
        Cancelled, it ends at once; what was under way is delivered again."""
        self._changed = asyncio.get_running_loop().create_future()
        duty = self._duty
        link = self._link = _AsyncLink(self._address)
        duty.heard = time.monotonic()
        ear = self._listen()
        try:
            while not (duty.is_leaving and not duty.held and (duty.is_over or not link.is_connected)):
                await self._change()
                if ear.done():
                    ear.result()
                now = time.monotonic()
                duty.tick(now, link.offer)
                if self._leaves:
                    duty.leave(link.offer)
                if duty.is_silent(now):
                    await _cancel([ear])
                    link.renew()
                    duty.heard = now
                    ear = self._listen()
        finally:
            self._is_ending = True
            await _cancel([ear, *self._running])
            link.close()

    def stop(self):
        """Take nothing more, finish what runs."""
        self._leaves = True
        self._wake()

    async def _change(self):
        """Waits until something has changed or must be looked at."""
        loop = asyncio.get_running_loop()
        clock = loop.call_later(self._duty.rest(time.monotonic(), TICK), self._wake)
        try:
            await self._changed
        finally:
            clock.cancel()
        self._changed = loop.create_future()

    def _wake(self):
        if self._changed and not self._changed.done():
            self._changed.set_result(None)

    def _listen(self):
        ear = asyncio.ensure_future(self._link.hear(self._take, self._ready))
        ear.add_done_callback(lambda _: self._wake())
        return ear

    def _ready(self):
        self._link.offer(self._duty.ready(time.monotonic()))

    def _take(self, frames):
        message = self._duty.take(frames, time.monotonic(), self._link.offer, self._say)
        if message:
            running = asyncio.ensure_future(self._work(message))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        self._wake()

    def _say(self, message, frames):
        self._duty.pass_on(message, frames, self._link.offer)

    async def _work(self, message):
        try:
            said = wire.ack(message, await self._handler(message))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # What `run` is cancelled with ends its handlers; one that ends so by itself has failed.
            if self._is_ending or self._changed.cancelled():
                raise
            said = wire.nack(message, error)
        if self._duty.end(message):
            self._link.offer(said)
        self._wake()


def _end(ended, result, error):
    if error is None:
        ended.set_result(result)
    else:
        ended.set_exception(error)


async def _cancel(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
