"""Workers that die, go silent or answer late."""

import pathlib
import subprocess
import sys

import zmq

from mub1 import PATIENCE, Client, Worker

RETRY = '[queues."q"]\nretry = { attempts = 5, initial_ms = 10, max_ms = 10, jitter = 0.0 }\n'
#: A worker in a process of its own that takes one message, says so, and holds it.
HOLDER = """
import sys
sys.path.insert(0, sys.argv[2])
import mub1
class At: workers = sys.argv[1]
worker = mub1.Worker(At, "q", name="holder")
header, payload = worker.take()
print(header["delivery"], header["attempt"], flush=True)
worker.hear(600)
"""


def test_a_worker_killed_in_the_middle_loses_its_lease_and_the_next_one_gets_it_again(make_broker):
    broker = make_broker(RETRY).start()
    here = str(pathlib.Path(__file__).parent)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, broker.workers, here], stdout=subprocess.PIPE, text=True
    )
    try:
        with Client(broker) as client:
            client.send("q", b"first", id="m1")
            client.send("q", b"second", id="m2")
            delivery, attempt = holder.stdout.readline().split()
            assert attempt == "1"
            holder.kill()
            with Worker(broker, "q") as worker:
                header, payload = worker.take()
                assert (payload, header["id"], header["seq"]) == (b"first", "m1", 1)
                assert header["attempt"] == 2
                assert header["delivery"] != delivery
                worker.ack(header)
                header, payload = worker.take()
                assert (payload, header["attempt"]) == (b"second", 1)
                worker.ack(header)
    finally:
        holder.kill()
        holder.wait(PATIENCE)


def test_a_silent_worker_is_given_up_and_its_late_answer_is_stale(make_broker):
    broker = make_broker(RETRY).start()
    with Client(broker) as client, Worker(broker, "q", name="silent") as silent:
        client.send("q", b"work", id="m1")
        first, _ = silent.take()
        with Worker(broker, "q", name="quick") as quick:
            # `silent` says nothing: after three heartbeat intervals its lease is given to `quick`.
            second, payload = quick.take()
            assert (payload, second["attempt"]) == (b"work", 2)
            silent.ack(first, b"too late")
            seen = []
            while not seen or seen[-1][0] not in ("STALE", "BYE"):
                seen.append(silent.hear())
            quick.ack(second)
        broker.until("the message is done", lambda: broker.queue("q")["depth"] == 0)


def test_a_late_answer_to_a_lease_that_is_over_is_stale_and_changes_nothing(make_broker):
    broker = make_broker(RETRY.replace("\n", "\nlease_ms = 300\n", 1)).start()
    with Client(broker) as client, Worker(broker, "q", name="slow") as slow:
        client.send("q", b"work")
        first, _ = slow.take()
        with Worker(broker, "q", name="quick") as quick:
            second, _ = quick.take()
            assert (second["attempt"], second["seq"]) == (2, first["seq"])
            assert second["delivery"] != first["delivery"]
            slow.ack(first)
            verb, header, _ = slow.hear()
            assert (verb, header["delivery"]) == ("STALE", first["delivery"])
            assert slow.availability == [("PAUSE", "it has not answered 1 deliveries that are over")]
            slow.silent(0.1)
            assert [verb for verb, _ in slow.availability] == ["PAUSE", "RESUME"]
            assert broker.queue("q")["depth"] == 1
            quick.ack(second)
        broker.until("the message is done", lambda: broker.queue("q")["depth"] == 0)


def test_progress_keeps_a_lease_beyond_its_time(make_broker):
    # Long enough that a machine that stands still for a moment doesn't end it between two signs.
    broker = make_broker('[queues."q"]\nlease_ms = 2000\n').start()
    with Client(broker) as client, Worker(broker, "q") as worker:
        client.send("q", b"long work")
        header, _ = worker.take()
        progress = {"delivery": header["delivery"], "extend_ms": 2000, "note": "half"}
        for _ in range(16):
            assert worker.silent(0.2)  # the work itself; nothing may come meanwhile
            worker.say("PROGRESS", progress)
        worker.ack(header)
        broker.until("it is done at the first attempt", lambda: broker.queue("q")["done"] == 1)


def test_a_worker_that_said_bye_answers_what_it_holds_and_gets_nothing_more(make_broker):
    broker = make_broker(RETRY).start()
    with Client(broker) as client, Worker(broker, "q", name="leaves") as leaves:
        client.send("q", b"first")
        first, _ = leaves.take()
        client.send("q", b"second")
        leaves.say("BYE")
        leaves.ack(first)
        verb, header, _ = leaves.hear()
        assert (verb, header["reason"]) == ("BYE", "bye"), "nothing more, once all is answered"
        with Worker(broker, "q") as worker:
            second, payload = worker.take()
            assert (payload, second["attempt"]) == (b"second", 1)
            worker.ack(second)
        broker.until("both are done", lambda: broker.queue("q")["done"] == 2)
        assert broker.queue("q")["failed"] == 0


def test_a_worker_that_says_bye_and_goes_gives_its_message_back_at_once(make_broker):
    broker = make_broker(RETRY).start()
    with Client(broker) as client:
        client.send("q", b"work")
        with Worker(broker, "q", name="leaves") as leaves:
            first, _ = leaves.take()
            leaves.say("BYE")
        with Worker(broker, "q") as worker:
            second, _ = worker.take()
            assert second["delivery"] != first["delivery"]
            worker.ack(second)


def test_a_stolen_identity_gets_nothing_that_is_not_its_own(make_broker):
    broker = make_broker(RETRY).start()
    with Client(broker) as client, Worker(broker, "q", identity=b"same") as first:
        client.send("q", b"work")
        header, _ = first.take()
        with Worker(broker, "q", name="thief", identity=b"same") as thief:
            thief.say("ACK", {"delivery": header["delivery"]}, b"")
            # The message is still the first one's, which still gets what is meant for it.
            assert thief.silent(1) or thief.hear()[0] in ("STALE", "REJECTED")
            assert broker.queue("q")["depth"] == 1
        first.ack(header)
        broker.until("the message is done", lambda: broker.queue("q")["depth"] == 0)
        client.send("q", b"more")
        header, payload = first.take()
        assert payload == b"more"
        first.ack(header)


def test_credit_bounds_what_a_worker_holds(make_broker):
    broker = make_broker().start()
    with Client(broker, zmq.DEALER) as client:
        for queue in "abcd":
            client.send(queue, queue.encode())
        with Worker(broker, "a", "b", "c", "d", credit=2) as worker:
            held = [worker.take()[0], worker.take()[0]]
            assert worker.silent(0.3)
            worker.ack(held.pop())
            held.append(worker.take()[0])
            assert len({header["queue"] for header in held}) == 2
