"""Bounded queues that make room by dead letters (`overflow = "dead-letter-oldest"`), in the real binary."""

from mub1 import Client, Worker, WorkerThread

CONFIG = '[queues."jobs"]\nmax_messages = 3\noverflow = "dead-letter-oldest"\n[queues."*"]\n'


def letters(broker, queue="jobs.dead"):
    """What the dead-letter queue holds: of which place, why, and the id."""
    rows = broker.admin("GET", f"/v1/queues/{queue}/messages")["messages"]
    views = [broker.admin("GET", f"/v1/queues/{queue}/messages/{row['seq']}") for row in rows]
    found = [(view["header"]["dead_letter"], view["header"]["id"]) for view in views]
    return [(letter["queue"], letter["seq"], letter["reason"], id) for letter, id in found]


def depths(broker):
    return broker.queue("jobs")["depth"], broker.queue("jobs.dead")["depth"]


def test_the_oldest_beyond_the_bound_are_dead_letters_also_after_a_kill(make_broker):
    broker = make_broker(CONFIG).start()
    payloads = [b"\x00\xff %d" % n for n in range(1, 6)]
    with Client(broker) as client:
        for n, payload in enumerate(payloads, 1):
            assert client.send("jobs", payload, id=f"m{n}")["seq"] == n
    broker.until("two had to go", lambda: depths(broker) == (3, 2))
    expected = [("jobs", 1, "max-length", "m1"), ("jobs", 2, "max-length", "m2")]
    assert letters(broker) == expected
    assert broker.queue("jobs")["dead_lettered"] == 2

    broker.kill()
    broker.start()
    assert depths(broker) == (3, 2) and letters(broker) == expected
    for queue, there in (("jobs.dead", payloads[:2]), ("jobs", payloads[2:])):
        with WorkerThread(broker, queue) as worker:
            worker.wait_for("all of it", lambda seen, there=there: len(seen) == len(there))
        assert [payload for _, payload in worker.seen] == there, "byte for byte, in order"
    broker.until("all is done", lambda: depths(broker) == (0, 0))


def test_what_a_worker_has_stays_and_a_full_dead_letter_queue_refuses(make_broker):
    bounded = CONFIG.replace('[queues."*"]', '[queues."jobs.dead"]\nmax_messages = 1\n[queues."*"]')
    broker = make_broker(bounded).start()
    with Client(broker) as client, Worker(broker, "jobs") as worker:
        for n in range(1, 4):
            client.send("jobs", b"work", id=f"m{n}")
        held, _ = worker.take()
        client.send("jobs", b"work", id="m4")
        broker.until("the next one had to go", lambda: depths(broker) == (3, 1))
        assert letters(broker) == [("jobs", 2, "max-length", "m2")], "not the one in hand"
        refusal = client.refused("SEND", {"queue": "jobs", "id": "m5"}, b"work")
        assert (refusal["code"], refusal["id"]) == ("full", "m5"), refusal
        worker.ack(held)
        for seq in (3, 4):
            header, _ = worker.take()
            assert header["seq"] == seq
            worker.ack(header)
        broker.until("only the dead letter is left", lambda: depths(broker) == (0, 1))
        assert client.send("jobs", b"work", id="m5")["seq"] == 5
