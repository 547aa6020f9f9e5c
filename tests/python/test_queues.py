"""Queues on the fly from the outside: their limits, how they go when they are idle, and how an operator deletes them."""

from mub1 import Client, Worker

CONFIG = """
[queues.fixed]
[queues."jobs.*"]
max_queues = 2
delete_on_idle_ms = 1000
[queues."other.*"]
"""


def names(broker):
    return sorted(queue["name"] for queue in broker.admin("GET", "/v1/queues"))


def delete(broker, queue, *options):
    return broker.cli("queue", "delete", queue, *options)


def refused(broker, queue, *options):
    """What `queue delete` says when it is refused."""
    return broker.cli("queue", "delete", queue, *options, code=6)


def test_a_template_makes_so_many_queues_and_says_what_to_do_beyond(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        for queue in ("jobs.1", "jobs.2"):
            assert client.ask("SEND", {"queue": queue}, b"{}")[0] == "ACCEPTED"
        verb, answer, _ = client.ask("SEND", {"queue": "jobs.3", "id": "m"}, b"{}")
        assert (verb, answer["code"], answer["id"]) == ("REJECTED", "full", "m")
        assert '[queues."jobs.*"]' in answer["reason"] and "max_queues" in answer["reason"]
        assert client.ask("SEND", {"queue": "other.1"}, b"{}")[0] == "ACCEPTED"


def test_an_idle_queue_goes_with_an_event_and_makes_room(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        for queue in ("jobs.1", "jobs.2"):
            client.ask("SEND", {"queue": queue}, b"{}")
        with Worker(broker, "jobs.1") as worker:
            header, _ = worker.take()
            worker.ack(header)
        broker.until("jobs.1 is gone", lambda: "jobs.1" not in names(broker))
        assert "jobs.2" in names(broker), "its message waits"
        entry = broker.admin("GET", "/v1/journal?queue=jobs.1&limit=1")["entries"][0]
        assert (entry["kind"], entry["actor"]["name"]) == ("queue-deleted", "broker")
        _, answer, _ = client.ask("SEND", {"queue": "jobs.1"}, b"{}")
        assert answer["seq"] == 2, "the place of the former is not used again"


def test_a_deleted_queue_stays_away_after_kill_9(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        for n in range(3):
            client.ask("SEND", {"queue": "other.1", "id": f"m{n}"}, b"{}")
        client.ask("SEND", {"queue": "other.2", "id": "kept"}, b"{}")
    said = refused(broker, "other.1")
    assert "3 messages" in said and "--purge" in said
    assert delete(broker, "other.1", "--purge", "--reason", "a test") == "other.1 is deleted\n"
    assert "[queues.\"fixed\"]" in refused(broker, "fixed")
    assert "no queue" in broker.cli("queue", "delete", "other.1", code=6)
    broker.kill()
    broker.start()
    assert names(broker) == ["fixed", "other.2"]
    with Client(broker) as client:
        _, answer, _ = client.ask("SEND", {"queue": "other.1", "id": "m0"}, b"new")
        assert (answer["seq"], answer["duplicate"]) == (4, False)
    with Worker(broker, "other.1") as worker:
        header, payload = worker.take()
        assert (header["seq"], payload) == (4, b"new")
        assert "a worker has message 4" in refused(broker, "other.1", "--purge", "--reason", "x")
        worker.ack(header)
    broker.kill()
    broker.cli("store", "check")
