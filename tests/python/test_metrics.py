"""`/metrics` as Prometheus' own parser reads it, while a queue fails, is repaired and dead-letters."""

import http.client

from prometheus_client.parser import text_string_to_metric_families

from mub1 import AdminConnection, Client, Worker, plain, PATIENCE
import zmq


def page(broker):
    """Every sample by name and labels, and the types of the metrics."""
    connection = AdminConnection(broker.data / "admin.sock")
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 200, text
    assert response.getheader("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(text))
    samples = {}
    for family in families:
        assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples, f"{key} twice"
            samples[key] = sample.value
    return samples, {family.name: family for family in families}


def value(broker, name, **labels):
    return page(broker)[0].get((name, tuple(sorted(labels.items()))))


def test_the_page_keeps_prometheus_conventions(broker):
    with Client(broker) as client:
        client.send("bills", b"1")
    samples, families = page(broker)
    for name, family in families.items():
        assert name.startswith(("mubroker_", "process_")), name
        for unit in ("_ms", "_millis", "_kb", "_mb", "_nanos"):
            assert not name.endswith(unit), f"{name}: not a base unit"
        # The parser takes `_total` off a counter's name, and finds it in the samples.
        if family.type == "counter":
            assert all(sample.name == f"{name}_total" for sample in family.samples), name
        else:
            assert not name.endswith("_total"), name
        if family.type == "histogram":
            buckets = [s for s in family.samples if s.name == f"{name}_bucket"]
            assert [s.value for s in buckets] == sorted(s.value for s in buckets), name
            assert buckets[-1].labels["le"] == "+Inf"
            assert buckets[-1].value == samples[(f"{name}_count", ())], name


def test_counters_follow_what_happens_to_messages(make_broker):
    broker = make_broker('[queues."bills"]\nretry = { attempts = 2, initial_ms = 1 }\non_failure = "dead-letter"\n').start()
    with Client(broker) as client, Worker(broker, "bills") as worker:
        client.send("bills", b"good")
        client.send("bills", b"bad")
        worker.ack(worker.take()[0])
        worker.nack(worker.take()[0], "no")
        delivery, _ = worker.take()
        assert value(broker, "mubroker_queue_messages", queue="bills", state="leased") == 1
        assert value(broker, "mubroker_workers", state="busy") == 1
        worker.nack(delivery, "no again")
        broker.until("it is dead-lettered", lambda: value(broker, "mubroker_messages_dead_lettered_total") == 1)
    expected = {"accepted": 2, "redelivered": 1, "acked": 1, "failed_attempts": 2, "dead_lettered": 1}
    for what, count in expected.items():
        assert value(broker, f"mubroker_queue_{what}_total", queue="bills") == count, what
    assert value(broker, "mubroker_messages_delivered_total") == 3
    assert value(broker, "mubroker_messages_accepted_total") == 3, "the dead letter is accepted in its queue"


def test_refusals_are_counted_by_reason(broker):
    host, port = broker.clients.removeprefix("tcp://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (http.client.HTTPException, ConnectionError):
        pass
    connection.close()
    refused = lambda: value(broker, "mubroker_connections_refused_total", door="clients", reason="greeting")
    broker.until("the refusal is counted", lambda: refused() == 1)
    with plain(zmq.REQ, broker.clients):
        broker.until("a peer is there", lambda: value(broker, "mubroker_connections", door="clients") == 1)


def test_a_thousand_queues_have_series_and_more_are_counted(broker):
    with Client(broker, zmq.DEALER) as client:
        for n in range(1_050):
            client.say("SEND", {"queue": f"q.{n:04}"}, b"x")
        for _ in range(1_050):
            verb, header, _ = client.hear()
            assert verb == "ACCEPTED", header
    samples, _ = page(broker)
    queues = {dict(labels)["queue"] for name, labels in samples if name == "mubroker_queue_bytes"}
    assert queues == {f"q.{n:04}" for n in range(1_000)}, "those that were made first"
    assert samples[("mubroker_queues_without_series", ())] == 50
    assert samples[("mubroker_messages", (("state", "ready"),))] == 1_050, "sums are over all"
