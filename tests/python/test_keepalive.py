"""Workers in processes of their own that stand still or die in the middle of a message."""

import contextlib
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mub1 import PATIENCE, Client, Worker
from test_leases import HOLDER, RETRY

#: "within two heartbeats" (protocol: 2.5 s each)
TWO_HEARTBEATS = 5.0


@contextlib.contextmanager
def holder(broker):
    """A worker that takes one message, holds it, and answers heartbeats."""
    here = str(pathlib.Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, broker.workers, here], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def states(broker):
    return {row["name"]: row["state"] for row in broker.admin("GET", "/v1/workers")}


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_message_is_with_another_worker_within_two_heartbeats(make_broker, how):
    broker = make_broker(RETRY).start()
    with Client(broker) as client, holder(broker) as process:
        client.send("q", b"work")
        process.stdout.readline()
        with Worker(broker, "q", name="second") as second:
            broker.until("second is there", lambda: states(broker).get("second") == "idle")
            process.send_signal(how)
            began = time.monotonic()
            delivery, payload = second.take()
            took = time.monotonic() - began
            assert took < TWO_HEARTBEATS, took
            assert (payload, delivery["attempt"]) == (b"work", 2)
            second.ack(delivery)


def test_a_worker_that_stood_still_is_given_messages_again(make_broker):
    broker = make_broker(RETRY).start()
    with Client(broker) as client, holder(broker) as process, Worker(broker, "q", name="second") as second:
        client.send("q", b"1")
        while not second.silent(0.1):
            second.ack(second.take()[0])
            client.send("q", b"again")
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        second.ack(second.take()[0])
        assert states(broker)["holder"] == "silent"
        process.send_signal(signal.SIGCONT)
        # It is heard again; what it was given counts against its credit until it answers or goes.
        broker.until("it is there again", lambda: states(broker).get("holder") == "stuck")


def test_a_standby_takes_over_within_two_heartbeats(make_broker):
    broker = make_broker(RETRY + 'consumers = "exclusive"\n').start()
    with Client(broker) as client, holder(broker) as process:
        client.send("q", b"work")
        process.stdout.readline()
        with Worker(broker, "q", name="standby") as standby:
            broker.until("it stands by", lambda: broker.queue("q")["workers"] == 2)
            process.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            delivery, payload = standby.take()
            assert time.monotonic() - began < TWO_HEARTBEATS
            assert payload == b"work"
            assert broker.queue("q")["active_worker"] == "standby"
            standby.ack(delivery)
