"""Messages, the configuration and the store over the admin API."""

import base64
import json
import signal
import socket

import pytest

import tokens
from mub1 import PATIENCE, AdminConnection, Client, Worker

EMPTY = {"payload": {"encoding": "utf8", "data": ""}}
CONFIG = """
[queues."*"]
[queues."small"]
max_messages = 1
[topics."order.created"]
subscriptions = [{ queue = "billing" }]
"""


def post(broker, path, body):
    """Status and answer; `body` is JSON text, or an object."""
    connection = AdminConnection(broker.data / "admin.sock")
    try:
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", path, text.encode())
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def broker(make_broker):
    return make_broker(CONFIG).start()


def test_a_message_is_durable_once_its_id_is_and_reaches_a_worker_as_it_was_written(broker):
    text = '{"header": {"id": "a-1", "tenant": "fr"}, "json": {"total":  1.10,"é": [1e3]} }'
    status, accepted = post(broker, "/v1/queues/orders/publish", text)
    assert (status, accepted) == (200, {"id": "a-1", "queue": "orders", "seq": 1, "duplicate": False})
    assert post(broker, "/v1/queues/orders/publish", text)[1]["duplicate"] is True
    data = bytes(range(256))
    encoded = {"encoding": "base64", "data": base64.b64encode(data).decode()}
    assert post(broker, "/v1/queues/orders/publish", {"payload": encoded})[1]["seq"] == 2
    assert post(broker, "/v1/queues/orders/publish", EMPTY)[1]["seq"] == 3
    broker.kill()
    broker.start()
    with Worker(broker, "orders") as worker:
        header, payload = worker.take()
        assert payload == '{"total":  1.10,"é": [1e3]}'.encode() and header["tenant"] == "fr"
        worker.ack(header)
        header, payload = worker.take()
        assert payload == data and len(header["id"]) == 36
        worker.ack(header)
        assert worker.take()[1] == b""


def test_what_a_door_would_refuse_is_refused_with_a_kind_of_its_own(broker):
    def refused(path, body, status, code):
        found = post(broker, path, body)
        assert (found[0], found[1]["code"]) == (status, code), found
        return found[1]

    refused("/v1/queues/orders/publish", {}, 400, "invalid")
    refused("/v1/queues/orders/publish", {"json": 1, "header": {"ttl_ms": -1}}, 400, "invalid")
    refused("/v1/queues/orders/publish", {"json": 1, "header": {"queue": "x"}}, 400, "invalid")
    refused("/v1/queues/orders/publish", {"payload": {"encoding": "base64", "data": "*"}}, 400, "invalid")
    refused("/v1/queues/orders/publish", '{"json": 1, "payload": {"encoding": "utf8", "data": ""}}', 400, "invalid")
    refused("/v1/queues/orders/publish", {"payload": {"encoding": "utf8", "data": "x" * (16 * 1024 * 1024 + 1)}}, 413,
            "too_large")
    assert post(broker, "/v1/queues/small/publish", EMPTY)[0] == 200
    assert refused("/v1/queues/small/publish", EMPTY, 409, "full")["retry_after_ms"] > 0
    refused("/v1/topics/nobody.cares/publish", {**EMPTY, "mandatory": True}, 409, "unroutable")
    assert broker.admin("GET", "/v1/queues/small")["depth"] == 1


def test_an_event_reaches_the_queues_that_subscribe(broker):
    event = {"header": {"id": "e-1"}, "json": {"total": 3}}
    status, published = post(broker, "/v1/topics/order.created/publish", event)
    assert (status, published) == (200, {"id": "e-1", "topic": "order.created", "queues": 1, "duplicate": False})
    assert post(broker, "/v1/topics/order.created/publish", event)[1]["duplicate"] is True
    with Worker(broker, "billing") as worker:
        assert worker.take()[1] == b'{"total": 3}'


def test_a_token_publishes_where_it_may_send(make_broker):
    made = {name: tokens.make(name, *role) for name, role in {
        "eu": ("producer", "--queues", "eu.*"), "all": ("producer",), "eyes": ("viewer",)}.items()}
    broker = make_broker(tokens.config([line for _, line in made.values()])).start()

    def ask(who, path, body=None, method="POST"):
        return tokens.ask(broker, made[who][0], method, path, body)[0]

    assert ask("eu", "/v1/queues/eu.a/publish", EMPTY) == 200
    assert ask("eu", "/v1/queues/us.a/publish", EMPTY) == 403
    assert ask("eu", "/v1/queues/eu.a/publish", {**EMPTY, "header": {"reply_to": "us.a"}}) == 403
    assert ask("eyes", "/v1/queues/eu.a/publish", EMPTY) == 403
    assert ask("eu", "/v1/topics/t/publish", EMPTY) == 403
    assert ask("all", "/v1/topics/t/publish", EMPTY) == 200
    assert ask("eyes", "/v1/store", method="GET") == 200
    assert ask("eyes", "/v1/config", method="GET") == 403, "only who may change settings"


def test_the_store_and_the_configuration_are_shown(broker):
    post(broker, "/v1/queues/orders/publish", EMPTY)
    store = broker.admin("GET", "/v1/store")
    assert store["disk"]["store_bytes"] > 0 and store["commits"]["count"] >= 1 and store["operations"] >= 1
    config = json.loads(broker.cli("config", "show", "--live"))
    assert config["settings"]["queues"]["small"]["max_messages"] == 1 and config["waiting"] == []
    assert config == broker.admin("GET", "/v1/config")


def test_sighup_takes_queues_and_alerts_and_names_each_key_that_waits(make_broker):
    broker = make_broker('[queues."bills"]\nlease_ms = 30000\n').start()
    agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    agent.bind(("127.0.0.1", 0))
    agent.settimeout(PATIENCE)
    text = broker.config.read_text()
    text = text.replace("lease_ms = 30000", "lease_ms = 20000")
    broker.cli("queue", "create", "elsewhere")
    text += '[queues."new"]\nlease_ms = 7000\n[queues."elsewhere"]\nmailbox = "memory"\n[store]\njournal_entries = 7\n[alerts]\ndatadog = "udp://127.0.0.1:%d"\n' % agent.getsockname()[1]
    broker.config.write_text(text)
    broker.process.send_signal(signal.SIGHUP)
    broker.until("it is reloaded", lambda: "the configuration is reloaded" in broker.tail())
    assert broker.admin("GET", "/v1/queues/bills")["settings"]["lease_ms"] == 20_000
    live = broker.admin("GET", "/v1/config")
    assert live["waiting"] == ["store.journal_entries", "queues.elsewhere"]
    assert live["settings"]["queues"]["bills"]["lease_ms"] == 20_000
    assert live["settings"]["store"]["journal_entries"] == 20_000, "as it runs"
    assert live["settings"]["alerts"]["datadog"].startswith("udp://")
    assert 'changed="store.journal_entries, queues.elsewhere"' in broker.tail()
    # What an operator gives back to the configuration is as it is now.
    broker.cli("queue", "set", "bills", "lease_ms=1000")
    broker.cli("queue", "set", "bills", "lease_ms=default")
    assert broker.admin("GET", "/v1/queues/bills")["settings"]["lease_ms"] == 20_000
    assert broker.admin("GET", "/v1/queues/new")["settings"]["lease_ms"] == 7_000
    problem = broker.refused("POST", "/v1/queues/new/delete", {})
    assert '[queues."new"]' in problem["detail"], "as one that was configured from the start"
    with Client(broker) as client, Worker(broker, "bills") as worker:
        client.send("bills", b"{}")
        worker.nack(worker.take()[0], "no such customer", "block")
        assert b"blocked" in agent.recv(65536)
