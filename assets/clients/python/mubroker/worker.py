"""The worker: calls a function for each message."""

import contextlib
import math
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import zmq

from . import wire
from .link import BlockingLink

#: How often it is looked at what nothing tells of, in seconds.
TICK = 0.5


class Worker:
    """Takes messages of some queues, and calls `handler(message)` for each, in up to `credit` threads.

    What the handler returns is the reply (bytes, text, what becomes JSON, or None); then the message is done. What it
    raises is a failed attempt: `Reject` says what is to happen, any other exception is retried or blocks as the queue's
    settings say. A message may come twice (at least once): let the handler know it by its `id`. Leases are extended while
    it runs, for `max_execution` seconds at most if that is given. Lost connections are made again.
    """

    def __init__(self, queues, handler, *, address=wire.WORKERS, credit=1, name=None, max_execution=None):
        self._handler, self._address, self._credit = handler, address, credit
        self._duty = wire.Duty(queues, credit, name, max_execution)
        self._said = SimpleQueue()
        self._bell, self._rung = socket.socketpair()
        self._bell.setblocking(False)
        self._rung.setblocking(False)
        self._leave = threading.Event()

    def run(self):
        """Works until `stop()`, SIGTERM or SIGINT (in the main thread), or until the broker asks it to leave: what runs is
        finished and told, nothing more is taken."""
        link = BlockingLink(self._address)
        try:
            with _stopped_by_signals(self.stop), ThreadPoolExecutor(self._credit, "mubroker") as threads:
                try:
                    self._serve(link, threads)
                finally:
                    link.close()
        finally:
            # No handler rings any more.
            self._bell.close()
            self._rung.close()

    def stop(self):
        """From any thread, or a signal's handler: take nothing more, finish what runs."""
        self._leave.set()
        self._ring()

    def _serve(self, link, threads):
        duty = self._duty
        duty.heard = time.monotonic()
        while not (duty.is_leaving and not duty.held and (duty.is_over or not link.is_connected)):
            self._poll(link)
            now = time.monotonic()
            if link.is_new():
                link.offer(duty.ready(now))
            for frames in link.received():
                message = duty.take(frames, now, link.offer, self._say)
                if message:
                    threads.submit(self._work, message)
            if self._leave.is_set():
                # Before what is done is told: that would bring the next message.
                duty.leave(link.offer)
            self._tell(link)
            duty.tick(now, link.offer)
            if duty.is_silent(now):
                link.renew()
                duty.heard = now

    def _poll(self, link):
        poller = zmq.Poller()
        for one in (link.socket, link.monitor, self._rung.fileno()):
            poller.register(one, zmq.POLLIN)
        poller.poll(math.ceil(self._duty.rest(time.monotonic(), TICK) * 1000))
        with contextlib.suppress(BlockingIOError):
            self._rung.recv(4096)

    def _work(self, message):
        try:
            said = wire.ack(message, self._handler(message))
        except BaseException as error:
            # SystemExit too: what isn't told would be held, and its lease extended.
            said = wire.nack(message, error)
        self._say(message, said, True)

    def _say(self, message, frames, is_end=False):
        self._said.put((message, frames, is_end))
        self._ring()

    def _tell(self, link):
        """Passes on what handlers have said."""
        with contextlib.suppress(Empty):
            while True:
                message, frames, is_end = self._said.get_nowait()
                if not is_end:
                    self._duty.pass_on(message, frames, link.offer)
                elif self._duty.end(message):
                    link.offer(frames)

    def _ring(self):
        # A full one has been rung often enough; a closed one is after the end.
        with contextlib.suppress(OSError):
            self._bell.send(b"!")


@contextlib.contextmanager
def _stopped_by_signals(stop):
    """SIGTERM and SIGINT stop the worker meanwhile; in the main thread only, as Python has it."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for one in (signal.SIGTERM, signal.SIGINT):
            before[one] = signal.signal(one, lambda *_: stop())
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
