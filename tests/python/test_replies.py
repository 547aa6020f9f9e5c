"""Requests and replies from the outside: queued by reply_to, kept for a caller that comes back, in parts."""

import json
import subprocess

import zmq

from mub1 import BINARY, PATIENCE, Client, Worker


def replies(broker, queue):
    """Headers and payloads of what waits in a queue, in order."""
    page = broker.admin("GET", f"/v1/queues/{queue}/messages")
    places = [message["seq"] for message in page["messages"]]
    shown = [broker.admin("GET", f"/v1/queues/{queue}/messages/{seq}") for seq in places]
    return [(message["header"], message["payload"]["data"]) for message in shown]


def test_a_reply_is_queued_where_the_request_says(broker):
    with Client(broker) as client, Worker(broker, "work") as worker:
        client.send("work", b"1", id="a", reply_to="replies", traceparent="00-1-2-01")
        client.send("work", b"2", id="b", reply_to="replies", correlation_id="c-9")
        worker.ack(worker.take()[0], b"done")
        worker.nack(worker.take()[0], "no such customer", action="dead-letter")
        broker.until("both are replied", lambda: len(broker.admin("GET", "/v1/queues/replies/messages")["messages"]) == 2)
    (done, payload), (failed, nothing) = replies(broker, "replies")
    assert (payload, nothing) == ("done", "")
    assert (done["status"], done["correlation_id"], done["traceparent"]) == ("ok", "a", "00-1-2-01")
    assert (failed["status"], failed["correlation_id"], failed["causation_id"]) == ("failed", "c-9", "b")
    assert failed["error"]["code"] == "rejected"
    with Worker(broker, "replies") as reader:
        header, payload = reader.take()
        assert (header["correlation_id"], payload) == ("a", b"done")


def test_a_message_that_is_cancelled_twice_is_replied_under_two_ids(broker):
    with Client(broker) as client:
        client.send("work", b"1", id="a", reply_to="replies")
    broker.cli("queue", "pause", "work")
    broker.cli("message", "cancel", "work", "1", "--reason", "a mistake")
    broker.cli("message", "restore", "work", "1")
    broker.cli("message", "cancel", "work", "1", "--reason", "no, it was right")
    both = [header for header, _ in replies(broker, "replies")]
    assert [(header["status"], header["error"]["code"]) for header in both] == [("failed", "cancelled")] * 2
    assert [header["correlation_id"] for header in both] == ["a", "a"]
    assert both[0]["id"] != both[1]["id"]


def test_a_reply_queue_that_is_not_there_is_refused(make_broker):
    broker = make_broker("[queues.work]\n[queues.small]\nmax_messages = 1\n").start()
    with Client(broker) as client:
        refused = client.refused("SEND", {"queue": "work", "reply_to": "nowhere"}, b"1")
        assert refused["code"] == "no_such_queue"
        assert refused["reason"].startswith("header field `reply_to`: there is no queue nowhere"), refused
        refused = client.refused("CALL", {"queue": "work", "reply_to": "a b"}, b"1")
        assert (refused["code"], "reply_to" in refused["reason"]) == ("malformed", True)
        client.send("small", b"1")
        assert client.refused("SEND", {"queue": "work", "reply_to": "small"}, b"1")["code"] == "full"
    assert broker.queue("work")["depth"] == 0


def test_a_caller_that_comes_back_gets_its_reply_after_kill_9(broker):
    with Worker(broker, "work") as worker:
        with Client(broker, zmq.DEALER) as caller:
            caller.say("CALL", {"queue": "work", "id": "a"}, b"1")
            delivery, _ = worker.take()
        worker.ack(delivery, b"forty-two")
        broker.until("it is done", lambda: broker.queue("work")["depth"] == 0)
    for _ in range(2):
        with Client(broker) as again:
            verb, reply, payload = again.ask("CALL", {"queue": "work", "id": "a"}, b"1")
            assert (verb, reply["status"], payload) == ("REPLY", "ok", [b"forty-two"])
            verb, status, payload = again.ask("STATUS", {"id": "a", "queue": "work", "reply": True})
            assert (verb, status["state"], status["reply"], payload) == ("STATUS", "done", {"status": "ok"}, [b"forty-two"])
            verb, status, payload = again.ask("STATUS", {"id": "a"})
            assert (verb, status["state"], payload) == ("STATUS", "done", [])
        assert broker.cli("call", "-q", "work", "--reply-of", "a") == "forty-two"
        broker.kill()
        broker.start()


def test_what_is_done_after_a_restart_is_kept_for_its_caller(make_broker):
    broker = make_broker('[queues."*"]\n[queues.work]\n').start()
    with Client(broker, zmq.DEALER) as caller:
        caller.say("CALL", {"queue": "work", "id": "a", "reply_to": "late"}, b"1")
        broker.until("it waits", lambda: broker.queue("work")["depth"] == 1)
    broker.kill()
    broker.start()
    with Worker(broker, "work") as worker:
        worker.ack(worker.take()[0], b"late, but here")
        with Client(broker) as again:
            broker.until("it is done", lambda: broker.queue("work")["depth"] == 0)
            verb, reply, payload = again.ask("CALL", {"queue": "work", "id": "a"}, b"1")
            assert (verb, reply["status"], payload) == ("REPLY", "ok", [b"late, but here"])
    assert [payload for _, payload in replies(broker, "late")] == ["late, but here"]


def test_a_late_reply_is_counted_and_queued(broker):
    with Client(broker) as client, Worker(broker, "work") as worker:
        verb, reply, _ = client.ask("CALL", {"queue": "work", "reply_to": "late", "timeout_ms": 50}, b"1")
        assert (verb, reply["status"]) == ("REPLY", "timeout")
        worker.ack(worker.take()[0], b"at last")
        broker.until("it is counted", lambda: broker.admin("GET", "/v1/overview")["late_replies"] == 1)
    assert [payload for _, payload in replies(broker, "late")] == ["at last"]


def test_parts_of_a_reply_come_as_they_are_made(broker):
    with Client(broker, zmq.DEALER) as caller, Worker(broker, "work") as worker:
        caller.say("CALL", {"queue": "work", "id": "a", "parts": True}, b"1")
        delivery, _ = worker.take()
        for text in (b"one", b"two"):
            worker.say("PARTIAL", {"delivery": delivery["delivery"]}, text)
            verb, header, payload = caller.hear()
            assert (verb, header["id"], header["status"], payload) == ("REPLY", "a", "part", [text])
        assert (header["part"], header["attempt"]) == (2, 1)
        worker.ack(delivery, b"end")
        verb, header, payload = caller.hear()
        assert (verb, header, payload) == ("REPLY", {"id": "a", "status": "ok"}, [b"end"])
        worker.say("PARTIAL", {"delivery": delivery["delivery"]}, b"late")
        assert worker.hear()[0] == "STALE"
    with Client(broker) as plain, Worker(broker, "plain") as worker:
        plain.say("CALL", {"queue": "plain"}, b"1")
        delivery, _ = worker.take()
        worker.say("PARTIAL", {"delivery": delivery["delivery"]}, b"a REQ takes one answer")
        worker.ack(delivery, b"end")
        assert plain.hear()[2] == [b"end"]


def test_the_command_line_prints_parts_and_the_end(broker):
    command = [BINARY, "call", "-q", "work", "x", "--json", "--data-dir", str(broker.data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as call, Worker(broker, "work") as worker:
        delivery, _ = worker.take()
        worker.say("PARTIAL", {"delivery": delivery["delivery"]}, b"half")
        assert json.loads(call.stdout.readline())["part"] == 1
        worker.ack(delivery, b"whole")
        assert json.loads(call.stdout.readline())["payload"]["data"] == "whole"
        assert call.wait(PATIENCE) == 0
