"""`consumers = "exclusive"`: one worker at a time, the others stand by, in the real binary."""

import json

from mub1 import Client, Worker

CONFIG = '[queues.jobs]\nconsumers = "exclusive"\n[queues.shared]\nordering = "none"\n'


def active(broker):
    view = broker.queue("jobs")
    return view.get("active_worker"), view["workers"]


def test_a_standby_takes_over_when_the_active_worker_is_gone(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client, Worker(broker, "jobs", name="first") as first:
        broker.until("first is active", lambda: active(broker) == ("first", 1))
        with Worker(broker, "jobs", "shared", credit=10, name="second") as second:
            broker.until("second stands by", lambda: active(broker) == ("first", 2))
            for n in range(3):
                client.send("jobs", b"%d" % n)
                delivery, payload = first.take()
                assert payload == b"%d" % n
                first.ack(delivery)
            assert second.silent(0.2)
            client.send("shared", b"s")
            assert second.take()[1] == b"s", "it serves its other queue meanwhile"
            rows = {row["name"]: row for row in broker.admin("GET", "/v1/workers")}
            assert rows["second"]["standby"] == ["jobs"] and "standby" not in rows["first"]
            assert "jobs (stands by)" in broker.cli("worker", "ls")
            assert "2, of which first is active" in broker.cli("queue", "show", "jobs")

            client.send("jobs", b"taken over")
            lost, _ = first.take()
            first.close()
            delivery, payload = second.take()
            assert (payload, delivery["attempt"]) == (b"taken over", 2)
            second.ack(delivery)
            assert active(broker) == ("second", 1)
    event = broker.cli("events", "--json", "--type", "taken-over", "--after", "1-0", "--limit", "2").splitlines()[1]
    assert json.loads(event)["details"] == {"worker": "second"}


def test_a_standby_waits_for_what_the_one_before_may_still_answer(make_broker):
    broker = make_broker(CONFIG + '[queues.jobs2]\nconsumers = "exclusive"\nordering = "none"\n').start()
    with Client(broker) as client, Worker(broker, "jobs2", credit=2, name="first") as first:
        broker.until("first is there", lambda: broker.queue("jobs2")["workers"] == 1)
        with Worker(broker, "jobs2", credit=2, name="second") as second:
            for n in range(4):
                client.send("jobs2", b"%d" % n)
            held = [first.take()[0] for _ in range(2)]
            first.say("BYE")
            broker.until("second is next", lambda: broker.queue("jobs2")["active_worker"] == "second")
            first.ack(held[0])
            assert second.silent(0.2), "first still has one"
            first.ack(held[1])
            assert sorted(second.take()[1] for _ in range(2)) == [b"2", b"3"]


def test_a_queue_becomes_exclusive_and_shared_again_while_it_runs(make_broker):
    broker = make_broker("").start()
    with Client(broker) as client, Worker(broker, "jobs", name="a") as a, Worker(broker, "jobs", name="b") as b:
        client.send("jobs", b"0")
        first = a if not a.silent(0.2) else b
        first.ack(first.take()[0])
        broker.until("it is done", lambda: broker.queue("jobs")["done"] == 1)
        broker.cli("queue", "set", "jobs", "consumers=exclusive")
        name, workers = active(broker)
        assert workers == 2
        ours, other = (a, b) if name == "a" else (b, a)
        for n in range(4):
            client.send("jobs", b"%d" % n)
            ours.ack(ours.take()[0])
        assert other.silent(0.1)
        broker.cli("queue", "set", "jobs", "consumers=default")
        assert active(broker) == (None, 2)
        for n in range(4):
            client.send("jobs", b"%d" % n)
            turn = a if not a.silent(0.05) else b
            turn.ack(turn.take()[0])
        broker.until("all are done", lambda: broker.queue("jobs")["done"] == 9)
        rows = {row["name"]: row["acked"] for row in broker.admin("GET", "/v1/workers")}
        assert rows["a"] > 0 and rows["b"] > 0
        said = broker.cli("queue", "set", "jobs", "consumers=exclusive", "resend.keep_ms=1000", code=6)
        assert "one at a time" in said
