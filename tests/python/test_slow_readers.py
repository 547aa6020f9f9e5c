"""Peers that send and never read: what the broker holds for them is bounded, then they are cut off."""

import contextlib
import json
import socket

import pytest

import zmtp
from mub1 import Client, WorkerThread

MIB = 1024 * 1024
#: Neither is given back late nor taken out of turn.
CONFIG = '[queues."*"]\nordering = "none"\nlease_ms = 600000\n'


@pytest.fixture
def broker(make_broker):
    return make_broker(CONFIG).start()


@contextlib.contextmanager
def deaf(address):
    with contextlib.closing(zmtp.handshake(address)) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(5)
        yield peer


def test_a_worker_who_reads_no_delivery_costs_its_budget_and_is_cut_off(broker):
    with deaf(broker.workers) as worker, Client(broker) as client:
        before, peak = broker.rss_bytes(), 0
        ready = b'{"queues":["q"],"credit":1024,"worker":{"name":"deaf"}}'
        worker.sendall(zmtp.message(b"MUB1", b"READY", ready))
        for n in range(700):
            # Alive, as far as it says.
            with contextlib.suppress(OSError):
                worker.sendall(zmtp.message(b"MUB1", b"HEARTBEAT"))
            client.send("q", b"x" * MIB, id=f"m{n}")
            peak = max(peak, broker.rss_bytes())
        # 256 MiB may wait for it, beside the window and what is under way to the disk; 700 were sent.
        assert peak - before < 512 * MIB, f"{(peak - before) // MIB} MiB more"
        broker.until("nobody holds anything", lambda: broker.queue("q")["leased"] == 0)
        assert broker.queue("q")["depth"] == 700


def test_a_caller_who_reads_no_reply_costs_its_budget(broker):
    with Client(broker) as client:
        client.send("q", b"so that the queue is there", id="first")
    with WorkerThread(broker, "q", work=lambda *_: b"y" * 500_000, credit=16), deaf(broker.clients) as caller:
        before, peak = broker.rss_bytes(), 0
        for n in range(600):
            header = json.dumps({"queue": "q", "id": f"c{n}", "timeout_ms": 60000}).encode()
            with contextlib.suppress(OSError):
                caller.sendall(zmtp.message(b"MUB1", b"CALL", header, b"?"))
            peak = max(peak, broker.rss_bytes())

        def worked_off():
            nonlocal peak
            peak = max(peak, broker.rss_bytes())
            queue = broker.queue("q")
            # Cut off before, or not: what it has sent was taken.
            is_heard = queue["accepted"] == 601 or broker.door("clients")["connections"] == 0
            return is_heard and queue["depth"] == 0

        broker.until("all is done", worked_off)
    # 300 MB of replies; 64 MiB of them may wait, beside what the worker has under way.
    assert peak - before < 260 * MIB, f"{(peak - before) // MIB} MiB more"
