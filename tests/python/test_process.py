"""The process as an operator meets it: start, stop, a second one, a broken configuration; what it costs idle."""

import os
import select
import signal
import subprocess

import zmq

from mub1 import BINARY, PATIENCE, Client, Worker, WorkerThread

#: Of one core, while nothing happens; the bar for a release build is 1 %, this is a debug build.
IDLE_CPU = 0.02
#: Resident without the binary's own text, while nothing happens. The bar for a release build is 40 MB with its text, which
#: has 16 MB; a debug build's has nearly twice that.
IDLE_BYTES = 30_000_000
IDLE_SECONDS = 5


def test_sigterm_stops_it_cleanly_and_gives_leases_back(make_broker):
    broker = make_broker().start()
    with Client(broker, zmq.DEALER) as client, Worker(broker, "q") as worker:
        client.send("q", b"in hand", id="m1")
        client.send("q", b"behind", id="m2")
        first, _ = worker.take()
        client.say("CALL", {"queue": "other", "timeout_ms": 60_000}, b"waits")
        assert broker.stop(5) == 0, broker.tail()
        assert not (broker.data / "admin.sock").exists(), "the socket file is taken away"
    broker.start()
    with WorkerThread(broker, "q") as worker:
        worker.wait_for("both messages", lambda seen: len(seen) == 2)
    assert [header["id"] for header, _ in worker.seen] == ["m1", "m2"]
    assert worker.seen[0][0]["delivery"] != first["delivery"]


def test_sigint_stops_it_too(make_broker):
    broker = make_broker().start()
    os.kill(broker.pid, signal.SIGINT)
    assert broker.process.wait(5) == 0, broker.tail()


def test_a_second_process_on_the_store_says_who_holds_it(broker):
    second = subprocess.run(
        [BINARY, "serve", "--config", str(broker.config)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert second.returncode != 0
    assert str(broker.pid) in second.stderr, second.stderr
    assert str(broker.data) in second.stderr, second.stderr
    with Client(broker) as client:
        client.send("q", b"the first is not disturbed")


def test_a_broken_configuration_is_refused_with_line_column_and_the_nearest_key(make_broker):
    broker = make_broker('[queues."q"]\nlease_sm = 5\n')
    done = subprocess.run(
        [BINARY, "serve", "--config", str(broker.config)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode != 0
    for words in ("lease_sm", "lease_ms", "8"):
        assert words in done.stderr, done.stderr


def test_a_bind_in_use_is_told(broker, make_broker):
    other = make_broker()
    text = other.config.read_text().replace("tcp://127.0.0.1:0", broker.clients, 1)
    other.config.write_text(text)
    done = subprocess.run(
        [BINARY, "serve", "--config", str(other.config)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode != 0
    assert broker.clients.removeprefix("tcp://") in done.stderr, done.stderr


def test_an_idle_broker_costs_next_to_nothing(broker):
    with Client(broker) as client, WorkerThread(broker, "q1") as worker:
        for n in range(20):
            client.send(f"q{n}", b"x" * 1000)
        worker.wait_for("its message", lambda seen: seen)
        before = broker.cpu_seconds()
        select.select([], [], [], IDLE_SECONDS)  # what is measured is the time itself
        cpu = (broker.cpu_seconds() - before) / IDLE_SECONDS
    assert cpu < IDLE_CPU, f"{cpu:.1%} of a core"
    assert broker.own_bytes() < IDLE_BYTES, f"{broker.own_bytes() / 1e6:.0f} MB"
