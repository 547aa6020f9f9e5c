"""Each client verb as protocol.md has it, and what is refused with which words."""

import json

import pytest
import zmq

from mub1 import Client, WorkerThread


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER], ids=["REQ", "DEALER"])
def test_hello_says_the_limits_and_ping_is_answered(broker, kind):
    with Client(broker, kind) as client:
        verb, welcome, _ = client.ask("HELLO", {"client": "test", "version": "1"})
        assert verb == "WELCOME"
        assert welcome["server"] == "mubroker"
        assert welcome["limits"]["max_payload_bytes"] == 16 * 1024 * 1024
        verbs = "HELLO SEND SENDMANY CALL PUBLISH GATHER START SUBSCRIBE UNSUBSCRIBE STATUS PING".split()
        assert welcome["may"] == verbs
        for verb in verbs:
            # An empty header: each is known, whatever it lacks.
            told = client.ask(verb, {})
            assert told[1].get("code") != "unsupported", told
        assert client.ask("PING")[0] == "PONG"


def test_a_dealer_with_a_delimiter_gets_one_back(broker):
    with Client(broker, zmq.DEALER) as client:
        client.say_frames(b"", b"MUB1", b"PING", b"{}")
        assert client.socket.poll(20_000)
        frames = client.socket.recv_multipart()
        assert frames[:3] == [b"", b"MUB1", b"PONG"]


def test_an_absent_id_is_given_and_a_duplicate_is_told_with_the_first_ones_place(broker):
    with Client(broker) as client:
        made = client.send("q", b"1")
        assert made["id"] and made["seq"] == 1
        first = client.send("q", b"2", id="same")
        again = client.send("q", b"3", id="same")
        assert (first["seq"], first["duplicate"]) == (2, False)
        assert (again["seq"], again["duplicate"]) == (2, True)
        assert broker.queue("q")["depth"] == 2


def test_sendmany_is_all_or_none_in_the_same_order(broker):
    with Client(broker) as client:
        pairs = []
        for n in range(1, 101):
            queue = "even" if n % 2 == 0 else "odd"
            pairs += [json.dumps({"queue": queue, "id": f"m{n}"}).encode(), b"%d" % n]
        client.say_frames(b"MUB1", b"SENDMANY", *pairs)
        verb, answer, _ = client.hear()
        assert verb == "ACCEPTED"
        assert [one["id"] for one in answer["accepted"]] == [f"m{n}" for n in range(1, 101)]
        assert [one["seq"] for one in answer["accepted"]] == [(n + 1) // 2 for n in range(1, 101)]

        pairs[-2] = b'{"queue":"even/odd","id":"m100"}'
        pairs[0] = b'{"queue":"odd","id":"new"}'
        client.say_frames(b"MUB1", b"SENDMANY", *pairs)
        verb, answer, _ = client.hear()
        assert (verb, answer["code"]) == ("REJECTED", "malformed")
        assert broker.queue("odd")["depth"] == 50


def test_a_call_is_answered_by_the_worker(broker):
    def work(header, body):
        if body == b"bad":
            raise ValueError("no such account")
        return b"re: " + body

    with Client(broker) as client, WorkerThread(broker, "rpc", work=work):
        verb, reply, payload = client.ask("CALL", {"queue": "rpc", "timeout_ms": 50_000}, b"hi")
        assert (verb, reply["status"], payload) == ("REPLY", "ok", [b"re: hi"])
        verb, reply, payload = client.ask(
            "CALL", {"queue": "rpc", "id": "bad-1", "timeout_ms": 50_000}, b"bad"
        )
        assert (verb, reply["status"], reply["id"]) == ("REPLY", "blocked", "bad-1")
        assert reply["error"]["message"] == "no such account"
        # The message stays for an operator; the next call waits behind it.
        verb, reply, _ = client.ask("CALL", {"queue": "rpc", "timeout_ms": 100}, b"hi")
        assert (verb, reply["status"]) == ("REPLY", "timeout")
        assert broker.queue("rpc")["depth"] == 2


def test_a_call_whose_message_is_cancelled_has_failed(broker):
    with Client(broker, zmq.DEALER) as client:
        client.say("CALL", {"queue": "rpc", "id": "c", "timeout_ms": 50_000}, b"hi")
        broker.until("the message is there", lambda: any(
            q["name"] == "rpc" for q in broker.admin("GET", "/v1/queues")))
        broker.cli("message", "cancel", "rpc", "1", "--reason", "not needed")
        verb, reply, _ = client.hear()
        assert (verb, reply["status"], reply["id"]) == ("REPLY", "failed", "c")


def test_status_follows_a_message_to_its_end(broker):
    with Client(broker) as client:
        client.send("q", b"1", id="m")
        verb, status, _ = client.ask("STATUS", {"id": "m"})
        assert (verb, status["state"]) == ("STATUS", "ready")
        assert (status["queue"], status["seq"], status["attempt"]) == ("q", 1, 0)
        with WorkerThread(broker, "q") as worker:
            worker.wait_for("the message", lambda seen: seen)
            broker.until("it is done", lambda: broker.queue("q")["depth"] == 0)
        verb, status, _ = client.ask("STATUS", {"id": "m"})
        # Its id is still in the de-duplication window.
        assert (verb, status["state"]) == ("STATUS", "done")


REFUSED = [
    ("SEND", b"{", [b"x"], "malformed", "line 1 column"),
    ("SEND", b'{"queue":\n oops}', [b"x"], "malformed", "line 2 column"),
    ("SEND", b"[1]", [b"x"], "malformed", "an array"),
    ("SEND", b"\xff\xfe", [b"x"], "malformed", "header"),
    ("SEND", {}, [b"x"], "malformed", "queue"),
    ("SEND", {"queue": "a/b"}, [b"x"], "malformed", "'/' at byte 1"),
    ("SEND", {"queue": 7}, [b"x"], "malformed", "queue"),
    ("SEND", {"queue": "q" * 129}, [b"x"], "malformed", "129 bytes"),
    ("SEND", {"queue": "q", "id": 7}, [b"x"], "malformed", "`id`"),
    ("SEND", {"queue": "q", "id": ""}, [b"x"], "malformed", "id"),
    ("SEND", {"queue": "q", "id": "a\x1b[2J"}, [b"x"], "malformed", "id"),
    ("SEND", {"queue": "q", "max_attempts": 0}, [b"x"], "malformed", "max_attempts"),
    ("SEND", {"queue": "q", "ttl_ms": 0}, [b"x"], "malformed", "ttl_ms"),
    ("SEND", {"queue": "q", "pad": "x" * 70_000}, [b"x"], "too_large", "65536"),
    ("SEND", {"queue": "q"}, [], "malformed", "payload"),
    ("SEND", {"queue": "q"}, [b"x", b"y"], "malformed", "frame"),
    ("SENDMANY", {"queue": "q"}, [], "malformed", "payload"),
    ("CALL", {"queue": "q", "timeout_ms": "soon"}, [b"x"], "malformed", "timeout_ms"),
    ("STATUS", {}, [], "malformed", "id"),
    ("PUBLISH", {}, [b"x"], "malformed", "topic"),
    ("PUBLISH", {"topic": "a b"}, [b"x"], "malformed", "topic"),
    ("PUBLISH", {"topic": "t", "mandatory": 1}, [b"x"], "malformed", "mandatory"),
    ("SUBSCRIBE", {"topic": "t"}, [], "malformed", "queue"),
    ("SUBSCRIBE", {"topic": "t", "queue": "q", "filter": "body.x >"}, [], "malformed", "line 1 column"),
    ("SUBSCRIBE", {"topic": "t", "queue": "q", "on_error": "no"}, [], "malformed", "on_error"),
    ("UNSUBSCRIBE", {"queue": "q"}, [], "malformed", "topic"),
    ("GATHER", {"gather": "g"}, [b"x"], "unroutable", "`gather`: there is no gather g"),
    ("GATHER", {"gather": 7}, [b"x"], "malformed", "`gather`"),
    ("EXPLODE", {}, [], "unsupported", "EXPLODE"),
]


@pytest.mark.parametrize(
    ("verb", "header", "payload", "code", "words"),
    REFUSED,
    ids=[f"{verb}-{n}" for n, (verb, *_) in enumerate(REFUSED)],
)
def test_what_is_refused_names_the_code_and_the_field(shared, verb, header, payload, code, words):
    with Client(shared) as client:
        answer = client.refused(verb, header, *payload)
        assert answer["code"] == code, answer
        assert words in answer["reason"], answer
        # The same connection still works.
        assert client.ask("PING")[0] == "PONG"


def test_an_unknown_message_has_no_status(shared):
    with Client(shared) as client:
        verb, answer, _ = client.ask("STATUS", {"id": "never-seen"})
        assert (verb, answer["code"], answer["id"]) == ("REJECTED", "unroutable", "never-seen")


def test_a_payload_beyond_the_limit_is_refused_or_cut_off_and_the_next_client_works(shared):
    with Client(shared, zmq.DEALER) as client:
        client.say("SEND", {"queue": "q"}, b"x" * (16 * 1024 * 1024 + 1))
        if not client.silent(5):
            verb, answer, _ = client.hear()
            assert (verb, answer["code"]) == ("REJECTED", "too_large")
    with Client(shared) as client:
        client.send("q", b"x" * (16 * 1024 * 1024))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One broker for the many small refusals."""
    from mub1 import Broker

    broker = Broker(tmp_path_factory.mktemp("b")).start()
    yield broker
    assert broker.stop() == 0
