"""The re-send plug-in in the real binary: two workers, of which the first one hangs."""

from mub1 import Client, Worker

CONFIG = '[queues."jobs"]\nresend = { keep_ms = 300 }\n[queues."*"]\n'


def test_a_message_whose_worker_hangs_goes_to_another_one_and_the_late_answer_is_stale(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client, Worker(broker, "jobs", name="hangs") as slow:
        client.send("jobs", b"work", id="a")
        held, _ = slow.take()
        with Worker(broker, "jobs", name="quick") as quick:
            copy, payload = quick.take()
            assert (copy["id"], copy["attempt"], payload) == ("a", 2, b"work")
            assert copy["delivery"] != held["delivery"]
            quick.ack(copy)
            broker.until("it is done", lambda: broker.queue("jobs")["done"] == 1)
            slow.ack(held)
            verb, header, *_ = slow.hear()
            assert (verb, header["delivery"]) == ("STALE", held["delivery"])
            view = broker.queue("jobs")
            assert (view["resent"], view["failed"], view["depth"]) == (1, 0, 0)


def test_it_is_switched_at_run_time_and_refused_where_it_makes_no_sense(make_broker):
    broker = make_broker().start()
    with Client(broker) as client:
        client.send("jobs", b"work", id="a")
        broker.cli("queue", "set", "jobs", "resend.keep_ms=200")
        assert broker.queue("jobs")["settings"]["resend"] == {"keep_ms": 200}
        broker.cli("queue", "set", "jobs", "resend.keep_ms=30000", code=6)
