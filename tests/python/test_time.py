"""Delays, schedules, expiry and dropping, in the real binary with a foreign client."""

import datetime
import time

from mub1 import Client, Worker

CONFIG = (
    '[queues."jobs"]\n[queues."free"]\nordering = "none"\n'
    '[queues."lossy"]\non_failure = "drop"\n[queues."*"]\n'
)


def letters(broker, queue):
    rows = broker.admin("GET", f"/v1/queues/{queue}/messages")["messages"]
    views = [broker.admin("GET", f"/v1/queues/{queue}/messages/{row['seq']}") for row in rows]
    return [(view["header"]["id"], view["header"]["dead_letter"]["reason"]) for view in views]


def test_a_delay_holds_an_ordered_queue_and_nobody_elsewhere(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client, Worker(broker, "jobs", "free", credit=2) as worker:
        begun = time.monotonic()
        for queue in ("jobs", "free"):
            client.send(queue, b"1", id=f"{queue}-late", delay_ms=1500)
            client.send(queue, b"2", id=f"{queue}-now")
        header, _ = worker.take()
        assert header["id"] == "free-now"
        worker.ack(header)
        assert time.monotonic() - begun < 1.4
        row = broker.admin("GET", "/v1/queues/jobs/messages")["messages"][0]
        assert (row["state"], row["due"] > row["accepted_at"]) == ("scheduled", True)
        assert broker.queue("jobs")["scheduled"] == 1 == broker.queue("free")["scheduled"]
        seen = []
        while len(seen) < 3:
            header, _ = worker.take()
            seen.append(header["id"])
            worker.ack(header)
        assert time.monotonic() - begun >= 1.5
        assert [id for id in seen if id.startswith("jobs")] == ["jobs-late", "jobs-now"]


def test_a_schedule_survives_a_kill_and_retry_sends_it_on_at_once(make_broker):
    broker = make_broker(CONFIG).start()
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    with Client(broker) as client:
        for queue in ("jobs", "free"):
            client.send(queue, b"x", id=f"{queue}-1", deliver_at=at.isoformat())
        refusal = client.refused("SEND", {"queue": "jobs", "deliver_at": "tomorrow"}, b"")
        assert refusal["code"] == "malformed" and "deliver_at" in refusal["reason"], refusal
    broker.kill()
    broker.start()
    with Worker(broker, "jobs", "free") as worker:
        for queue in ("jobs", "free"):
            state = lambda: broker.admin("GET", f"/v1/queues/{queue}/messages")["messages"]
            broker.until("it is scheduled", lambda: [r["state"] for r in state()] == ["scheduled"])
            broker.cli("message", "retry", queue, "1")
            header, _ = worker.take()
            assert header["id"] == f"{queue}-1"
            worker.ack(header)


def test_what_expires_is_a_dead_letter_without_any_worker_and_told_to_its_caller(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        client.send("jobs", b"a", id="a", ttl_ms=300)
        broker.until("a has expired", lambda: broker.queue("jobs")["dead_lettered"] == 1)
        assert letters(broker, "jobs.dead") == [("a", "expired")]
        broker.cli("queue", "set", "jobs", "ttl_ms=200")
        verb, header, _ = client.ask("CALL", {"queue": "jobs", "id": "b", "timeout_ms": 9000}, b"b")
        assert (verb, header["status"]) == ("REPLY", "failed"), header
        assert header["error"]["code"] == "expired", header
        verb, status, _ = client.ask("STATUS", {"id": "b", "queue": "jobs"})
        assert (status["queue"], status["seq"]) == ("jobs.dead", 2), status
        broker.kill()
        broker.start()
        assert letters(broker, "jobs.dead") == [("a", "expired"), ("b", "expired")]


def test_dropped_is_counted_and_in_the_journal(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client, Worker(broker, "lossy") as worker:
        client.send("lossy", b"a", id="a")
        header, _ = worker.take()
        worker.nack(header, "no good")
        broker.until("it was dropped", lambda: broker.queue("lossy")["dropped"] == 1)
        assert broker.queue("lossy")["depth"] == 0
        kinds = [entry["kind"] for entry in broker.admin("GET", "/v1/journal")["entries"]]
        assert kinds[0] == "dropped", kinds
