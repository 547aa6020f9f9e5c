"""The doors beside clients' and workers': plain PUSH, PULL, PUB and SUB sockets of libzmq at the real binary."""

import json
import os
import socket
import struct

import pytest
import zmq

from mub1 import PATIENCE, Client, WorkerThread, plain

DOORS = """
push = "tcp://127.0.0.1:0"
live = "tcp://127.0.0.1:0"
feed = "tcp://127.0.0.1:0"
pull = { reports = "tcp://127.0.0.1:0" }
"""
QUEUES = """
[queues.orders]
[queues.reports]
[queues.billing]
[topics."order.created"]
subscriptions = [{ queue = "billing" }]
"""


def at(broker, kind, name, **options):
    """A socket of a kind, connected to the door."""
    return plain(kind, broker.door(name)["endpoint"], **options)


def subscribed(broker, count=1):
    """Waits until so many subscribers are there; a subscription follows its connection at once."""
    broker.until("the subscriber is there", lambda: broker.door("live")["connections"] == count)


def envelope(verb, header, *payload):
    return [b"MUB1", verb.encode(), json.dumps(header).encode(), *payload]


def messages(broker, queue):
    rows = broker.admin("GET", f"/v1/queues/{queue}/messages")["messages"]
    return [broker.admin("GET", f"/v1/queues/{queue}/messages/{row['seq']}") for row in rows]


def depth(broker, name):
    """How much is in a queue that may not be there yet."""
    return sum(queue["depth"] for queue in broker.admin("GET", "/v1/queues") if queue["name"] == name)


@pytest.fixture
def doors(make_broker):
    return make_broker(DOORS + QUEUES).start()


def test_what_is_pushed_is_kept_and_what_is_refused_is_a_dead_letter(doors):
    with at(doors, zmq.PUSH, "push") as push:
        for n in range(100):
            push.send_multipart(envelope("SEND", {"queue": "orders", "id": f"m{n}"}, b"%d" % n))
        first = json.dumps({"queue": "orders"}).encode()
        push.send_multipart([b"MUB1", b"SENDMANY", first, b"a", first, b"b"])
        push.send_multipart(envelope("PUBLISH", {"topic": "order.created"}, b"{}"))
        push.send_multipart(envelope("SEND", {"queue": "nowhere", "id": "lost", "priority": 3}, b"keep me"))
        push.send_multipart(envelope("CALL", {"queue": "orders"}, b"call"))
        push.send(b"\x00 not an envelope \xff")
        doors.until("three are refused", lambda: doors.door("push")["refused"] == 3)
        doors.until("they are dead letters", lambda: depth(doors, "push.dead") == 3)
    assert doors.queue("orders")["depth"] == 102
    assert [row["id"] for row in doors.admin("GET", "/v1/queues/orders/messages?limit=100")["messages"]] == [
        f"m{n}" for n in range(100)
    ]
    assert doors.queue("billing")["depth"] == 1
    # One that can't be read is refused before one that its queue refuses.
    letters = {message["header"]["dead_letter"]["code"]: message["header"] for message in messages(doors, "push.dead")}
    call, garbage, lost = (letters[code] for code in ("unsupported", "malformed", "no_such_queue"))
    why = lost["dead_letter"]
    assert lost["id"] == "lost" and "priority" not in lost
    assert (why["queue"], why["reason"], why["code"]) == ("nowhere", "refused", "no_such_queue")
    assert why["priority"] == 3 and "there is no queue nowhere" in why["error"]
    assert json.loads(call["headers"]["header"]) == {"queue": "orders"} and garbage["headers"] == {"frames": 1}
    with WorkerThread(doors, "push.dead") as worker:
        worker.wait_for("all three", lambda seen: len(seen) == 3)
        payloads = {payload for _, payload in worker.seen}
        assert payloads == {b"keep me", b"call", b"\x00 not an envelope \xff"}
    counts = doors.door("push")
    assert (counts["received"], counts["refused"], counts["lost"]) == (105, 3, 0)


def test_what_is_pushed_to_a_full_dead_letter_queue_is_told_as_lost(make_broker):
    config = DOORS + '[queues."push.dead"]\nmax_messages = 1\n[queues.a]\nmax_messages = 1\n'
    broker = make_broker(config).start()
    with at(broker, zmq.PUSH, "push") as push:
        for n in range(3):
            push.send_multipart(envelope("SEND", {"queue": "a", "id": f"m{n}"}, b"x"))
        # Those of before this run of the broker can't be told.
        lines = broker.cli("events", "--json", "--type", "refused", "--after", "1-0", "--limit", "3").splitlines()
    missed, *told = (json.loads(line) for line in lines)
    assert (missed["type"], missed["details"]) == ("missed", {"events": None})
    assert [(event["queue"], event["id"], event["details"]["to"]) for event in told] == [
        ("a", "m1", "push.dead"), ("a", "m2", None)]
    assert broker.queue("a")["depth"] == broker.queue("push.dead")["depth"] == 1


def test_subscribers_get_topics_by_prefix_as_they_are_published(doors):
    with at(doors, zmq.SUB, "live") as sub, at(doors, zmq.SUB, "live") as other, Client(doors) as client:
        for prefix in (b"order.", b"bill"):
            sub.subscribe(prefix)
        other.subscribe(b"")
        subscribed(doors, 2)
        # The first of a topic without subscriptions: it is told all the same.
        for n, topic in enumerate(["order.created", "stock.low", "billed", "order.paid"]):
            verb, answer, _ = client.ask("PUBLISH", {"topic": topic, "id": f"e{n}"}, b'{"n": %d}' % n)
            assert verb == "ACCEPTED", answer
        heard = [sub.recv_multipart() for _ in range(3)]
        assert [(topic, payload) for topic, _, payload in heard] == [
            (b"order.created", b'{"n": 0}'), (b"billed", b'{"n": 2}'), (b"order.paid", b'{"n": 3}')]
        assert json.loads(heard[0][1])["id"] == "e0"
        topics = set()
        while b"order.paid" not in topics:
            topics.add(other.recv_multipart()[0])
        assert {b"order.created", b"stock.low", b"billed"} <= topics
        # What was published before is not published again.
        client.ask("PUBLISH", {"topic": "order.created", "id": "e0"}, b"{}")
        sub.unsubscribe(b"bill")
        client.ask("PUBLISH", {"topic": "order.created", "id": "e9"}, b"{}")
        assert json.loads(sub.recv_multipart()[1])["id"] == "e9"


def test_subscribers_get_events_by_type_and_queue(doors):
    with at(doors, zmq.SUB, "live") as sub:
        sub.subscribe(b"$events.paused.orders")
        sub.subscribe(b"$events.resumed")
        subscribed(doors)
        for act in ("pause", "resume"):
            for queue in ("billing", "orders"):
                doors.cli("queue", act, queue, "--reason", "look first")
        heard = [sub.recv_multipart() for _ in range(3)]
    assert [topic for topic, _ in heard] == [
        b"$events.paused.orders", b"$events.resumed.billing", b"$events.resumed.orders"]
    event = json.loads(heard[0][1])
    assert (event["type"], event["queue"], event["details"]["reason"]) == ("paused", "orders", "look first")


def test_a_slow_subscriber_loses_and_the_loss_is_counted(doors):
    before = doors.rss_bytes()
    payload = os.urandom(64 * 1024)
    with at(doors, zmq.SUB, "live", rcvhwm=1, rcvbuf=4096) as slow, at(
        doors, zmq.SUB, "live", rcvhwm=0
    ) as fast, Client(doors) as client:
        slow.subscribe(b"noise")
        fast.subscribe(b"noise")
        subscribed(doors, 2)
        for n in range(1000):
            assert client.ask("PUBLISH", {"topic": "noise", "id": f"n{n}"}, payload)[0] == "ACCEPTED"
            assert json.loads(fast.recv_multipart()[1])["id"] == f"n{n}"
        counts = doors.door("live")
        assert counts["lost"] > 0 and counts["connections"] == 2
        assert counts["sent"] + counts["lost"] == 2000
        assert json.loads(slow.recv_multipart()[1])["id"] == "n0", "what came first is there"
    assert doors.rss_bytes() - before < 64 * 1024 * 1024


def test_what_a_pub_socket_feeds_is_published(doors):
    with at(doors, zmq.PUB, "feed") as pub:
        doors.until("the publisher is there", lambda: doors.door("feed")["connections"] == 1)
        # A PUB drops until the subscription has come.
        header = json.dumps({"id": "f1", "key": "k"}).encode()

        def fed():
            pub.send_multipart([b"order.created", header, b"{}"])
            return doors.queue("billing")["depth"] == 1

        doors.until("the first arrives", fed)
        pub.send_multipart([b"order.created", b"\xff plain"])
        pub.send_multipart([b"not a topic", b"x"])
        pub.send_multipart([b"order.created", b"[no header]", b"x"])
        pub.send_multipart([b"alone"])
        doors.until("three are refused", lambda: doors.door("feed")["refused"] == 3)
    first, second = messages(doors, "billing")
    assert (first["header"]["id"], first["header"]["key"], first["header"]["topic"]) == ("f1", "k", "order.created")
    assert second["header"]["topic"] == "order.created"


def test_a_queue_is_drained_to_pull_sinks_each_message_once(doors):
    with Client(doors) as client:
        for n in range(50):
            client.send("reports", b"%d" % n)
        assert doors.queue("reports")["depth"] == 50, "it waits while no sink is there"
        with at(doors, zmq.PULL, "pull reports") as sink:
            assert [sink.recv() for _ in range(50)] == [b"%d" % n for n in range(50)]
            doors.until("all are done", lambda: doors.queue("reports")["done"] == 50)
            with at(doors, zmq.PULL, "pull reports") as second:
                doors.until("both are there", lambda: doors.door("pull reports")["connections"] == 2)
                for n in range(20):
                    client.send("reports", b"%d" % n)
                halves = [[half.recv() for _ in range(10)] for half in (sink, second)]
                assert sorted(halves[0] + halves[1], key=int) == [b"%d" % n for n in range(20)]
        doors.until("no sink is there", lambda: doors.queue("reports")["workers"] == 0)
        client.send("reports", b"later")
        assert doors.queue("reports")["depth"] == 1
    doors.kill()
    doors.start()
    with at(doors, zmq.PULL, "pull reports") as sink:
        assert sink.recv() == b"later"


def test_sinks_that_do_not_take_leave_the_messages_in_their_queue(doors):
    payload = b"x" * 256 * 1024
    with Client(doors) as client, at(doors, zmq.PULL, "pull reports", rcvhwm=1, rcvbuf=4096) as sink:
        doors.until("the sink is there", lambda: doors.queue("reports")["workers"] == 1)
        for n in range(200):
            client.send("reports", b"%d " % n + payload)
        assert doors.queue("reports")["depth"] > 100
        # Longer than a worker may be silent: the door is a live worker all the same.
        assert [sink.recv().split()[0] for _ in range(200)] == [b"%d" % n for n in range(200)]
    assert doors.queue("reports")["failed"] == 0


def test_peers_of_another_kind_and_garbage_are_refused(doors):
    host, port = doors.door("live")["endpoint"].removeprefix("tcp://").rsplit(":", 1)
    greeting = bytes([0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 0]) + b"NULL".ljust(20, b"\0") + bytes(32)

    def ready(kind):
        body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
        return bytes([4, len(body)]) + body

    huge = bytes([2]) + struct.pack(">Q", 1 << 62)
    for what in (ready(b"PULL"), ready(b"SUB") + huge, ready(b"SUB") + b"\x00\x01\x07", ready(b"SUB") + b"\x09x",
                 ready(b"SUB") + bytes([2]) + struct.pack(">Q", 300) + b"\x01" + bytes(299)):
        with socket.create_connection((host, int(port)), PATIENCE) as raw:
            raw.sendall(greeting + what)
            raw.settimeout(PATIENCE)
            while raw.recv(4096):
                pass
    assert doors.door("live")["cut_off"] == 5
    for kind, name in ((zmq.SUB, "push"), (zmq.PUSH, "live"), (zmq.PULL, "feed"), (zmq.PUSH, "pull reports")):
        before = doors.door(name)["cut_off"]
        with at(doors, kind, name):
            doors.until(f"{name} refuses it", lambda: doors.door(name)["cut_off"] > before)


def test_a_peer_with_heartbeats_stays(doors):
    with at(doors, zmq.SUB, "live", heartbeat_ivl=50, heartbeat_timeout=500) as sub, Client(doors) as client:
        sub.subscribe(b"t")
        subscribed(doors)
        before = doors.door("live")["bytes_out"]
        doors.until("pings are answered", lambda: doors.door("live")["bytes_out"] > before + 40)
        client.ask("PUBLISH", {"topic": "t"}, b"{}")
        assert sub.recv_multipart()[0] == b"t"
        assert doors.door("live")["cut_off"] == 0


def test_the_doors_are_listed(doors):
    with at(doors, zmq.SUB, "live"):
        subscribed(doors)
        rows = [line.split() for line in doors.cli("doors").splitlines()]
    assert rows[0] == ["DOOR", "TYPE", "PEERS", "IN", "OUT", "LOST", "REFUSED", "ADDRESS"]
    assert [row[0] for row in rows[1:]] == ["clients", "workers", "push", "live", "feed", "pull"]
    assert rows[4][1:3] == ["XPUB", "1"]


def test_what_does_not_fit_a_schema_is_refused_in_every_reception_mode(make_broker, tmp_path):
    schema = tmp_path / "order.json"
    schema.write_text('{"type": "object", "required": ["total"]}')
    broker = make_broker(DOORS + QUEUES + f'[queues.priced]\nschema = "{schema}"\n').start()
    said = "is not as the schema of queue priced says: the whole: "
    with at(broker, zmq.PUSH, "push") as push:
        push.send_multipart(envelope("SEND", {"queue": "priced", "id": "p1"}, b"[1]"))
        push.send_multipart(envelope("SEND", {"queue": "priced", "id": "p2"}, b'{"total": 1}'))
        broker.until("the dead letter is there", lambda: depth(broker, "push.dead") == 1)
    dead = messages(broker, "push.dead")[0]["header"]["dead_letter"]
    assert dead["code"] == "schema" and dead["queue"] == "priced" and said in dead["error"], dead
    broker.until("what fits is there", lambda: depth(broker, "priced") == 1)
    with plain(zmq.DEALER, broker.clients) as dealer:
        for verb, header in (("SEND", {}), ("CALL", {"timeout_ms": 1000})):
            dealer.send_multipart(envelope(verb, {"queue": "priced", "id": verb, **header}, b"not JSON"))
            magic, word, answer, *_ = dealer.recv_multipart()
            answer = json.loads(answer)
            assert (word, answer["id"], answer["code"]) == (b"REJECTED", verb, "schema"), answer
            assert said in answer["reason"] and "not JSON" in answer["reason"], answer
        many = [json.dumps({"queue": "priced", "id": f"m{n}"}).encode() for n in range(2)]
        dealer.send_multipart([b"MUB1", b"SENDMANY", many[0], b'{"total": 1}', many[1], b"{}"])
        answer = json.loads(dealer.recv_multipart()[2])
        assert answer["code"] == "schema" and answer["id"] == "m1", answer
        # In order, though one is checked and the next isn't.
        for n in range(50):
            dealer.send_multipart(envelope("SEND", {"queue": "priced", "id": f"o{n}"}, b'{"total": %d}' % n))
        for n in range(50):
            assert json.loads(dealer.recv_multipart()[2])["seq"] == n + 2
    assert depth(broker, "priced") == 51
