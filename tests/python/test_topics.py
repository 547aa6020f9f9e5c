"""Topics from the outside: published, filtered, routed, subscribed at run time, there after kill -9."""

import json

from mub1 import Client, Worker

CONFIG = """
[queues."*"]
[queues.small]
max_messages = 1
[topics."order.created"]
subscriptions = [
  { queue = "billing" },
  { queue = "large", filter = "body.total > 100" },
  { queue = "fr", filter = "header.headers.country == 'FR'", on_error = "skip" },
]
[topics.route]
match = "first"
otherwise = "rest"
subscriptions = [
  { queue = "gold", filter = "body.tier == 'gold'" },
  { queue = "cheap", filter = "body.total < 10" },
]
[topics.strict]
subscriptions = [{ queue = "billing", filter = "body.n > 1", on_error = "reject" }]
[topics.narrow]
subscriptions = [{ queue = "billing" }, { queue = "small" }]
"""


def publish(client, topic, body, **header):
    """PUBLISH; the header of ACCEPTED."""
    verb, answer, rest = client.ask("PUBLISH", {"topic": topic, **header}, json.dumps(body).encode())
    assert (verb, rest) == ("ACCEPTED", []), (verb, answer)
    return answer


def waiting(broker, queue):
    """Ids that wait in a queue, in order."""
    page = broker.admin("GET", f"/v1/queues/{queue}/messages")
    return [message["id"] for message in page["messages"]]


def test_an_event_goes_to_each_subscription_that_takes_it(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        answer = publish(client, "order.created", {"total": 120}, id="e1", headers={"country": "FR"})
        assert answer == {"id": "e1", "topic": "order.created", "queues": 3, "duplicate": False}
        assert publish(client, "order.created", {"total": 5}, id="e2")["queues"] == 1
        assert publish(client, "order.created", {"total": 120}, id="e1")["duplicate"] is True
        assert waiting(broker, "billing") == ["e1", "e2"]
        assert waiting(broker, "large") == ["e1"]
        assert waiting(broker, "fr") == ["e1"]
        with Worker(broker, "large") as worker:
            header, payload = worker.take()
            assert (header["queue"], header["seq"]) == ("large", 1)
            assert (header["id"], header["topic"]) == ("e1", "order.created")
            assert payload == b'{"total": 120}'
            worker.ack(header)
            broker.until("large is empty", lambda: broker.queue("large")["depth"] == 0)
        assert waiting(broker, "billing") == ["e1", "e2"]


def test_a_router_takes_the_first_or_otherwise(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        for id, body in [("a", {"tier": "gold", "total": 1}), ("b", {"tier": "", "total": 1}), ("c", {"tier": "", "total": 50})]:
            assert publish(client, "route", body, id=id)["queues"] == 1
    assert [waiting(broker, queue) for queue in ("gold", "cheap", "rest")] == [["a"], ["b"], ["c"]]


def test_a_filter_that_fails_is_counted_and_its_event_is_dead_lettered_or_refused(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        assert publish(client, "order.created", {"sum": 1}, id="e1")["queues"] == 2
        assert waiting(broker, "large.dead") == ["e1"]
        dead = broker.admin("GET", "/v1/queues/large.dead/messages/1")["header"]["dead_letter"]
        assert (dead["reason"], dead["topic"], dead["queue"]) == ("filter", "order.created", "large")
        assert dead["error"] == "there is no field `total`"
        rows = broker.admin("GET", "/v1/topics/order.created")["subscriptions"]
        assert [row["filter_errors"] for row in rows] == [0, 1, 1]
        refused = client.refused("PUBLISH", {"topic": "strict", "id": "e2"}, b"not json")
        assert (refused["code"], refused["id"]) == ("unroutable", "e2")
        assert "the body is not JSON" in refused["reason"]
        assert waiting(broker, "billing") == ["e1"]


def test_all_queues_get_an_event_or_none(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        assert publish(client, "narrow", {}, id="e1")["queues"] == 2
        assert client.refused("PUBLISH", {"topic": "narrow", "id": "e2"}, b"{}")["code"] == "full"
    assert (waiting(broker, "billing"), waiting(broker, "small")) == (["e1"], ["e1"])


def test_what_nobody_takes_is_told_or_unroutable_if_asked(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        assert publish(client, "nobody", {}, id="e1")["queues"] == 0
        refused = client.refused("PUBLISH", {"topic": "nobody", "mandatory": True}, b"{}")
        assert refused["code"] == "unroutable"
    assert broker.admin("GET", "/v1/topics")["unknown"] == 1


def test_subscriptions_made_at_run_time_survive_kill_9(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        verb, answer, _ = client.ask("SUBSCRIBE", {"topic": "t", "queue": "a", "filter": "body.n > 1"})
        assert (verb, answer) == ("SUBSCRIBED", {"topic": "t", "queue": "a", "changed": True})
        refused = client.refused("SUBSCRIBE", {"topic": "order.created", "queue": "billing"})
        assert refused["code"] == "forbidden"
        refused = client.refused("SUBSCRIBE", {"topic": "t", "queue": "a", "filter": "[" * 200})
        assert "nested deeper" in refused["reason"]
    broker.cli("topic", "subscribe", "t", "b")
    broker.cli("topic", "subscribe", "t", "c")
    broker.cli("topic", "unsubscribe", "t", "c")
    broker.kill()
    broker.start()
    with Client(broker) as client:
        assert publish(client, "t", {"n": 2}, id="e1")["queues"] == 2
        assert publish(client, "t", {"n": 0}, id="e2")["queues"] == 1
        verb, answer, _ = client.ask("UNSUBSCRIBE", {"topic": "t", "queue": "a"})
        assert (verb, answer["changed"]) == ("UNSUBSCRIBED", True)
        assert publish(client, "t", {"n": 2}, id="e3")["queues"] == 1
    shown = json.loads(broker.cli("topic", "show", "t", "--json"))
    assert [row["queue"] for row in shown["subscriptions"]] == ["b"]
    kinds = [entry["kind"] for entry in broker.admin("GET", "/v1/journal")["entries"]]
    assert kinds.count("subscribed") == 3 and kinds.count("unsubscribed") == 2


def test_an_accepted_event_is_in_all_its_queues_after_kill_9(make_broker):
    config = "[queues.'*']\n[topics.t]\nsubscriptions = [" + ", ".join(
        f"{{ queue = 'q{n}' }}" for n in range(200)) + "]\n"
    broker = make_broker(config).start()
    with Client(broker) as client:
        for n in range(5):
            assert publish(client, "t", {"n": n}, id=f"e{n}")["queues"] == 200
        broker.kill()
    broker.start()
    for n in (0, 77, 199):
        assert waiting(broker, f"q{n}") == [f"e{n}" for n in range(5)]
    with Client(broker) as client:
        again = publish(client, "t", {"n": 0}, id="e0")
        assert (again["queues"], again["duplicate"]) == (200, True)
