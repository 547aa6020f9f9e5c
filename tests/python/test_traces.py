"""Traces: what a producer says of its trace reaches the worker as it was, and a collector gets spans of what the broker did."""

import http.server
import json
import queue
import subprocess
import threading

import pytest

from mub1 import BINARY, PATIENCE, Client, Worker

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, STATE = f"00-{TRACE}-{PARENT}-01", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


class Collector(http.server.ThreadingHTTPServer):
    """An OTLP collector; `answers` are its statuses, the last one for all that follow."""

    def __init__(self, answers=(200,)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.spans, self.headers = list(answers), queue.Queue(), []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def config(self, more=""):
        return f'[traces]\nendpoint = "http://127.0.0.1:{self.server_port}/v1/traces"\n{more}\n'

    def take(self, count):
        return [self.spans.get(timeout=PATIENCE) for _ in range(count)]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"{}")
        if status == 200:
            self.server.headers.append(self.headers)
            for scope in body["resourceSpans"][0]["scopeSpans"]:
                for span in scope["spans"]:
                    self.server.spans.put(span)

    def log_message(self, *_):
        pass


@pytest.fixture
def collector(tmp_path):
    (tmp_path / "traces.toml").write_text('[traces]\nendpoint = "http://127.0.0.1:1/"\n')
    done = subprocess.run([BINARY, "config", "check", "--config", str(tmp_path / "traces.toml")], capture_output=True,
                          text=True, timeout=PATIENCE)
    if done.returncode:
        assert "--features otlp" in done.stderr
        pytest.skip("this program was built without OTLP")
    server = Collector()
    yield server
    server.shutdown()
    server.server_close()


def attributes(span):
    values = ((one["key"], one["value"]) for one in span["attributes"])
    return {key: value.get("stringValue", value.get("intValue")) for key, value in values}


def counts(broker):
    lines = [line.split() for line in scrape(broker).splitlines() if line.startswith("mubroker_spans_")]
    return {name.removeprefix("mubroker_spans_").removesuffix("_total"): int(value) for name, value in lines}


def scrape(broker):
    from test_hello import scrape as page
    return page(broker)


def test_a_trace_reaches_the_worker_unchanged(broker):
    for parent in (SAMPLED, "00-what-ever-00"):
        with Client(broker) as client, Worker(broker, "orders") as worker:
            client.send("orders", b"1", traceparent=parent, tracestate=STATE, reply_to="answers")
            header, _ = worker.take()
            assert (header["traceparent"], header["tracestate"]) == (parent, STATE)
            worker.ack(header, b"done")
        with Worker(broker, "answers") as worker:
            header, _ = worker.take()
            assert (header["traceparent"], header["tracestate"]) == (parent, STATE)
            worker.ack(header)
    assert counts(broker) == {"exported": 0, "dropped": 0}


def test_a_message_has_a_span_for_each_thing_the_broker_does(make_broker, collector, tmp_path):
    keys = tmp_path / "collector.headers"
    keys.write_text("Api-Key: precious\n")
    broker = make_broker('[queues."*"]\n' + collector.config(f'headers_file = "{keys}"')).start()
    with Client(broker) as client, Worker(broker, "orders") as worker:
        client.send("orders", b"12345", id="a-1", traceparent=SAMPLED, tracestate=STATE)
        client.send("orders", b"2", id="a-2", traceparent=SAMPLED[:-1] + "0")
        client.send("orders", b"3", id="a-3")
        refused = client.refused("SEND", {"queue": "orders", "id": "a-4", "traceparent": SAMPLED, "ttl_ms": 1,
                                          "delay_ms": 1, "priority": 3}, b"4")
        worker.ack(worker.take()[0])
        worker.ack(worker.take()[0])
        worker.ack(worker.take()[0])
        # A worker that waits gets it in the commit that the producer is told of: who of both is first says nothing.
        by_name = {(span["name"], attributes(span)["messaging.message.id"]): span for span in collector.take(4)}
        published = by_name["publish orders", "a-1"]
        assert (published["traceId"], published["parentSpanId"]) == (TRACE, PARENT)
        assert published["traceState"] == STATE and published["name"] == "publish orders"
        assert int(published["startTimeUnixNano"]) < int(published["endTimeUnixNano"])
        assert attributes(published) == {
            "messaging.system": "mubroker", "messaging.operation.name": "publish", "messaging.operation.type": "send",
            "messaging.destination.name": "orders", "messaging.message.id": "a-1", "messaging.message.body.size": "5"}
        delivered, acked = by_name["deliver orders", "a-1"], by_name["ack orders", "a-1"]
        assert delivered["parentSpanId"] == PARENT and acked["parentSpanId"] == delivered["spanId"]
        assert {span["traceId"] for span in by_name.values()} == {TRACE}
        assert attributes(acked)["messaging.operation.type"] == "settle"
        assert attributes(delivered)["messaging.mubroker.message.seq"] == "1"
        wrong = by_name["publish orders", "a-4"]
        assert wrong["status"]["code"] == 2 and attributes(wrong)["error.type"] == refused["code"]
    assert collector.headers[0]["api-key"] == "precious"
    broker.until("they are counted", lambda: counts(broker) == {"exported": 4, "dropped": 0})
    shown = json.dumps(broker.admin("GET", "/v1/config"))
    assert "precious" not in shown and "precious" not in broker.tail()


def test_gathers_and_sagas_begin_with_a_span_in_the_trace_of_their_messages(make_broker, collector):
    sections = '[queues."*"]\n[sagas.trip]\nsteps = [{ name = "flight", queue = "flights" }]\n'
    broker = make_broker(sections + collector.config()).start()
    with Client(broker) as client, Worker(broker, "flights", "hotels", credit=3) as worker:
        client.ask("START", {"saga": "trip", "id": "s-1", "traceparent": SAMPLED}, b"{}")
        client.say("GATHER", {"recipients": ["flights", "hotels"], "id": "g-1", "traceparent": SAMPLED}, b"123")
        # A queue in order has one message out at a time.
        for _ in range(3):
            header, _ = worker.take()
            assert header["traceparent"] == SAMPLED
            worker.ack(header)
        spans = collector.take(8)
        assert {span["traceId"] for span in spans} == {TRACE}
        assert {span["parentSpanId"] for span in spans if not span["name"].startswith("ack")} == {PARENT}
        begun = {span["name"]: attributes(span) for span in spans if span["name"].startswith("publish")}
        assert begun["publish trip"]["messaging.message.id"] == "s-1"
        assert begun["publish flights,hotels"]["messaging.message.body.size"] == "3"


def test_without_a_traceparent_a_share_is_traced_by_the_message_id(make_broker, collector):
    broker = make_broker(collector.config("sample_ratio = 1.0") + '[queues."*"]\n[topics."t"]\n'
                         'subscriptions = [{ queue = "q" }]\n').start()
    with Client(broker) as client, Worker(broker, "q") as worker:
        client.ask("PUBLISH", {"topic": "t", "id": "e-1"}, b"1")
        worker.nack(worker.take()[0], "no such customer", "block")
        spans = collector.take(3)
    by_name = {span["name"]: span for span in spans}
    assert set(by_name) == {"publish t", "deliver q", "nack q"}
    assert len({span["traceId"] for span in spans}) == 1 and "parentSpanId" not in by_name["publish t"]
    assert attributes(by_name["nack q"])["error.type"] == "refused"


def test_a_collector_that_is_gone_costs_spans_only(make_broker, collector):
    broker = make_broker(collector.config("sample_ratio = 1.0\nqueue = 1") + '[queues."*"]\n').start()
    collector.answers = [500]
    with Client(broker) as client:
        for number in range(20):
            client.send("orders", b"1", id=f"a-{number}")
    broker.until("what is lost is counted", lambda: counts(broker)["dropped"] >= 20)
    assert broker.queue("orders")["depth"] == 20 and "they are lost" in broker.tail()
