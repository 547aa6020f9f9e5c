"""Scatter-gather from the outside: scenarios that can be read, each with the real broker and plain pyzmq."""

import json
import os
import subprocess
import sys
import threading

import pytest
import zmq

from mub1 import BINARY, PATIENCE, REPOSITORY, Client, Worker, WorkerThread

sys.path.insert(0, str(REPOSITORY / "assets/clients/python"))
import gather as example  # noqa: E402

CONFIG = """
[queues."*"]
[gathers.quotes]
recipients = [
  { queue = "a" },
  { queue = "b" },
  { queue = "french", filter = "header.headers.country == 'FR'", on_error = "skip" },
]
complete = "all"
timeout_ms = 60000
[gathers.cheap]
recipients = [{ queue = "a" }, { queue = "b" }]
complete = "parts.exists(p, p.body.price < 100)"
timeout_ms = 500
[gathers.merged]
topic = "prices"
aggregate = "object"
"""


@pytest.fixture
def broker(make_broker):
    return make_broker(CONFIG).start()


def price(amount):
    return lambda header, payload: json.dumps({"price": amount, "by": header["queue"]}).encode()


def ask(client, header, payload=b"{}"):
    verb, answer, parts = client.ask("GATHER", header, payload)
    assert verb == "REPLY", (verb, answer)
    return answer, parts


def test_all_reply_and_the_answer_is_complete(broker):
    with WorkerThread(broker, "a", work=price(1)), WorkerThread(broker, "b", work=price(2)):
        with Client(broker) as client:
            answer, parts = ask(client, {"gather": "quotes", "id": "g1"}, b'{"car": 1}')
            assert (answer["id"], answer["status"], answer["missing"]) == ("g1", "complete", [])
            assert answer["parts"] == ["a", "b"]
            assert [json.loads(part)["price"] for part in parts] == [1, 2]
            again, same = ask(client, {"gather": "quotes", "id": "g1"}, b'{"car": 1}')
            assert (again, same) == (answer, parts), "asked again, it is the same answer"
    assert broker.queue("a")["done"] == 1


def test_a_filter_chooses_who_is_asked(broker):
    with Client(broker, zmq.DEALER) as client, Worker(broker, "french") as french:
        client.say("GATHER", {"gather": "quotes", "headers": {"country": "FR"}}, b"1")
        header, payload = french.take()
        assert (header["gather"], payload) == ("quotes", b"1")
        assert [broker.queue(queue)["depth"] for queue in ("a", "b")] == [1, 1]


def test_a_condition_over_the_parts_is_a_quorum(broker):
    with Worker(broker, "a") as a, WorkerThread(broker, "b", work=price(99.5)), Client(broker, zmq.DEALER) as client:
        client.say("GATHER", {"gather": "cheap", "timeout_ms": 60000}, b"1")
        verb, answer, parts = client.hear()
        assert (verb, answer["status"], answer["parts"]) == ("REPLY", "quorum", ["b"])
        assert [(one["queue"], one["code"]) for one in answer["missing"]] == [("a", "no-reply")]
        a.ack(a.take()[0], b'{"price": 1}')
        broker.until("the late part is counted", lambda: broker.admin("GET", "/v1/overview")["late_parts"] == 1)


def test_at_the_deadline_the_answer_is_partial_and_says_who_is_missing(broker):
    with WorkerThread(broker, "a", work=price(500)), Worker(broker, "b") as b, Client(broker) as client:
        client.say("GATHER", {"gather": "cheap"}, b"1")
        b.nack(b.take()[0], "no idea")
        verb, answer, parts = client.hear()
        assert (verb, answer["status"], answer["parts"]) == ("REPLY", "partial", ["a"])
        assert answer["missing"][0]["code"] == "blocked"
        assert "no idea" in answer["missing"][0]["message"]


def test_replies_are_merged_into_one_object(broker):
    for queue in ("a", "b"):
        broker.cli("topic", "subscribe", "prices", queue)
    work = {"a": b'{"a": 1.10, "both": 1}', "b": b'{"b": 12345678901234567890123, "both": 2}'}
    reply = lambda header, payload: work[header["queue"]]
    with WorkerThread(broker, "a", work=reply), WorkerThread(broker, "b", work=reply), Client(broker) as client:
        answer, parts = ask(client, {"gather": "merged"})
        assert answer["parts"] == ["a", "b"]
        assert parts == [b'{"a":1.10,"both":2,"b":12345678901234567890123}']


def test_a_gather_survives_kill_9(broker):
    with Client(broker, zmq.DEALER) as client, Worker(broker, "a") as a:
        client.say("GATHER", {"gather": "quotes", "id": "g"}, b"1")
        a.ack(a.take()[0], b"from before")
        broker.until("the part is kept", lambda: broker.queue("a")["depth"] == 0)
    broker.kill()
    broker.start()
    assert broker.admin("GET", "/v1/overview")["gathers"] == 1
    with Client(broker) as client, WorkerThread(broker, "a", "b", work=lambda header, payload: b"from after") as workers:
        answer, parts = ask(client, {"gather": "quotes", "id": "g"}, b"1")
        assert (answer["status"], parts) == ("complete", [b"from before", b"from after"])
        assert [header["queue"] for header, _ in workers.seen] == ["b"], "nobody is asked twice"


def test_with_reply_to_the_answer_comes_into_a_queue_also_over_kill_9(broker):
    with Client(broker) as client:
        header = {"gather": "quotes", "id": "g", "reply_to": "answers", "correlation_id": "c"}
        verb, accepted, _ = client.ask("GATHER", header, b"1")
        assert (verb, accepted) == ("ACCEPTED", {"id": "g", "recipients": 2, "duplicate": False})
        assert client.ask("GATHER", header, b"1")[1]["duplicate"] is True
    broker.kill()
    broker.start()
    work = lambda header, payload: b'{"n": 1.10}' if header["queue"] == "a" else b"text"
    with WorkerThread(broker, "a", "b", work=work), Worker(broker, "answers") as answers:
        header, payload = answers.take()
    assert (header["status"], header["correlation_id"], header["parts"]) == ("complete", "c", ["a", "b"])
    assert payload.startswith(b'[{"queue":"a","json":{"n": 1.10}},{"queue":"b","payload":'), payload


@pytest.mark.parametrize(
    "header, code, words",
    [
        ({"gather": "unknown"}, "unroutable", "no gather unknown"),
        ({}, "malformed", "`gather` and `recipients`"),
        ({"recipients": []}, "malformed", "`recipients`"),
        ({"recipients": ["a", "a"]}, "malformed", "a is asked twice"),
        ({"recipients": "a"}, "malformed", "`recipients`"),
        ({"gather": "quotes", "complete": "parts.size("}, "malformed", "`complete`: the filter is not CEL"),
        ({"gather": "quotes", "complete": "body.x == 1"}, "malformed", "the name `body`; there are header and parts"),
        ({"gather": "quotes", "complete": 0}, "malformed", "from 1 to 256"),
        ({"gather": "quotes", "complete": 3}, "unroutable", "3 replies, and 2 recipients"),
        ({"gather": "quotes", "aggregate": "sum"}, "malformed", "`aggregate`"),
        ({"gather": "quotes", "timeout_ms": 0}, "malformed", "`timeout_ms`"),
        ({"gather": "quotes", "reply_to": "no queue"}, "malformed", "`reply_to`"),
    ],
)
def test_what_cannot_be_gathered_is_refused_with_what_and_where(broker, header, code, words):
    with Client(broker) as client:
        refused = client.refused("GATHER", {"id": "g", **header}, b"1")
    assert (refused["code"], refused["id"]) == (code, "g"), refused
    assert words in refused["reason"], refused


@pytest.mark.parametrize(
    "lines, words",
    [
        ('recipients = [{ queue = "nowhere" }]', "queue: there is no queue nowhere"),
        ('recipients = [{ queue = "a" }, { queue = "a" }]', "a is asked twice"),
        ('recipients = [{ queue = "a", filter = "body.x >" }]', "the filter is not CEL"),
        ('recipients = [{ queue = "a", on_error = "dead-letter" }]', "on_error"),
        ('recipients = [{ queue = "a" }]\ncomplete = 2', "complete: 2 replies of 1 recipients"),
        ('recipients = [{ queue = "a" }]\ncomplete = "topic == 1"', "the name `topic`"),
        ('recipients = [{ queue = "a" }]\ncomplete = true', "complete"),
        ('recipients = [{ queue = "a" }]\ntimeout_ms = 0', "timeout_ms"),
        ('recipients = [{ queue = "a" }]\ntopic = "t"', "give one of them"),
        ("complete = 1", "nobody is asked"),
        ('recipient = [{ queue = "a" }]', "did you mean"),
    ],
)
def test_a_gather_that_cannot_work_is_refused_in_the_configuration(tmp_path, lines, words):
    config = tmp_path / "mubroker.toml"
    config.write_text(f'[queues.a]\n[gathers.g]\n{lines}\n')
    done = subprocess.run([BINARY, "config", "check", "--config", str(config)], capture_output=True, timeout=PATIENCE)
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode != 0 and words in said, said
    assert f"{config}:" in said, said


def test_the_command_line_shows_parts_and_who_is_missing(broker):
    with WorkerThread(broker, "a", work=price(500)):
        said = broker.cli("gather", "-g", "cheap", "{}", code=6)
        assert '== a\n{"price": 500, "by": "a"}\n' in said
        assert "missing: b 1: no-reply: it had not replied" in said and "partial" in said
        shown = json.loads(broker.cli("gather", "--recipients", "a", "--json", "{}"))
        assert (shown["status"], shown["parts"]) == ("complete", ["a"])


def test_operators_see_who_has_answered_and_who_is_missing(broker):
    with Worker(broker, "a") as a, Worker(broker, "b") as b, Client(broker, zmq.DEALER) as client:
        assert broker.cli("gather", "ls") == "no such gathers\n"
        client.say("GATHER", {"gather": "quotes", "id": "g1", "timeout_ms": 10_000}, b"1")
        a.ack(a.take()[0], b'{"price": 1}')
        b.nack(b.take()[0], "no idea", action="block")
        probe = lambda: [one["state"] for one in shown()["recipients"]] == ["replied", "blocked"]
        shown = lambda: broker.admin("GET", "/v1/gathers/g1")["gather"]
        broker.until("both were heard", probe)
        seen = shown()
        assert (seen["gather"], seen["state"], seen["complete"], seen["callers"]) == ("quotes", "running", "all", 1)
        assert seen["until"] > seen["began_at"]
        assert json.loads(broker.cli("gather", "ls", "--json")) == [seen]
        listed = broker.cli("gather", "ls", "--state", "running")
        assert "quotes  running  1/2" in listed and listed.rstrip().endswith("g1  b"), listed
        said = broker.cli("gather", "show", "g1", "--gather", "quotes")
        assert said.startswith("quotes g1 is running, began ") and "1 of 2 replied, over at: all" in said, said
        assert "blocked         refused: no idea" in said and '== a\n{"price": 1}\n' in said, said
        assert client.hear()[1]["status"] == "partial"
    broker.kill()
    broker.start()
    with Client(broker) as client:
        again = ask(client, {"gather": "quotes", "id": "g1"})[0]
        assert [one["code"] for one in again["missing"]] == ["blocked"], again
    detail = json.loads(broker.cli("gather", "show", "g1", "--json"))
    assert (detail["gather"]["state"], detail["gather"]["callers"]) == ("partial", 0)
    assert detail["replies"] == [{"queue": "a", "payload": {"encoding": "utf8", "data": '{"price": 1}'}}]
    assert "there is no gather g2" in broker.cli("gather", "show", "g2", code=6)
    assert "one of running, complete, quorum, partial" in broker.cli("gather", "ls", "--state", "done", code=2)


def test_a_gather_is_in_the_event_stream_when_it_begins_and_when_it_ends(broker):
    with WorkerThread(broker, "a", work=price(500)), Client(broker) as client:
        ask(client, {"gather": "cheap", "id": "g1", "timeout_ms": 3_000})
        ask(client, {"recipients": ["a"], "id": "g2"})
    command = [BINARY, "events", "--json", "--type", "gather-started,gather-ended", "--after", "0-0"]
    environment = {**os.environ, "MUBROKER_DATA_DIR": str(broker.data)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as following:
        try:
            events = [json.loads(following.stdout.readline()) for _ in range(5)]
        finally:
            following.kill()
    told = [(event["type"], event.get("id"), event["details"]) for event in events if event["type"] != "missed"]
    assert told == [
        ("gather-started", "g1", {"gather": "cheap", "recipients": 2}),
        ("gather-ended", "g1", {"gather": "cheap", "status": "partial", "replied": 1, "missing": 1}),
        ("gather-started", "g2", {"recipients": 1}),
        ("gather-ended", "g2", {"status": "complete", "replied": 1, "missing": 0}),
    ]


def test_the_example_in_python_finds_the_best_price(broker):
    prices = {"insurer.a": 120.0, "insurer.b": 99.5}
    workers = [
        threading.Thread(target=example.work, args=(broker.workers, queue, amount, 1)) for queue, amount in prices.items()
    ]
    for worker in workers:
        worker.start()
    status, replies, missing = example.gather(broker.clients, {"plate": "X"}, timeout_ms=2000)
    for worker in workers:
        worker.join(PATIENCE)
    assert status == "partial", "nobody works for insurer.c"
    assert {queue: reply["price"] for queue, reply in replies.items()} == prices
    assert [one["queue"] for one in missing] == ["insurer.c"]
