"""Queues that operators make and empty, and messages that they take out and bring in as lines, with the real command."""

import json
import random

from mub1 import Client, Worker

CONFIG = """
[queues.fixed]
[queues."jobs.*"]
lease_ms = 12345
max_queues = 2
"""
REASON = ("--reason", "a test")


def queue(broker, name):
    return broker.admin("GET", f"/v1/queues/{name}")


def lines(text):
    return [json.loads(line) for line in text.split("\n") if line]


def depths(broker):
    return {view["name"]: view["depth"] for view in broker.admin("GET", "/v1/queues")}


def journal(broker, name):
    entries = broker.admin("GET", f"/v1/journal?queue={name}")["entries"]
    return [(entry["kind"], entry.get("reason", "")) for entry in entries]


def test_an_operator_makes_a_queue_and_it_stays_so_after_kill_9(make_broker):
    broker = make_broker(CONFIG).start()
    said = broker.cli("queue", "create", "jobs.1", "ordering=none", "retry.attempts=3", *REASON)
    assert "ordering none" in said and "3 attempts" in said and "lease 12345 ms" in said
    assert journal(broker, "jobs.1") == [("queue-created", "ordering=none retry.attempts=3: a test")]
    assert "already" in broker.cli("queue", "create", "jobs.1", code=6)
    assert "sideways" in broker.cli("queue", "create", "jobs.2", "ordering=sideways", code=6)
    assert "no queue" in broker.cli("queue", "show", "jobs.2", code=6), "a refused one isn't made"
    made = json.loads(broker.cli("queue", "create", "elsewhere", "--json"))
    assert (made["name"], made["depth"]) == ("elsewhere", 0)
    broker.cli("queue", "create", "jobs.2")
    assert "max_queues" in broker.cli("queue", "create", "jobs.3", code=6)
    broker.kill()
    broker.start()
    view = queue(broker, "jobs.1")
    assert (view["settings"]["ordering"], view["settings"]["lease_ms"]) == ("none", 12345)
    assert sorted(view["overrides"]) == ["ordering", "retry"]
    with Client(broker) as client:
        assert client.ask("SEND", {"queue": "elsewhere"}, b"{}")[0] == "ACCEPTED"


def test_a_purge_takes_out_what_waits_and_leaves_what_a_worker_has(make_broker):
    broker = make_broker('[queues."*"]\n').start()
    with Client(broker) as client, Worker(broker, "q") as worker:
        client.ask("SEND", {"queue": "q", "id": "held"}, b"0")
        header, _ = worker.take()
        many = "".join(f"{n}\n" for n in range(1200))
        broker.cli("send", "-q", "q", "--lines", stdin=many.encode())
        assert "--yes" in broker.cli("queue", "purge", "q", *REASON, code=2), "nobody is there to ask"
        assert "--reason" in broker.cli("queue", "purge", "q", "--yes", code=2)
        assert "1200 messages would be removed, 1 stay" in broker.cli("queue", "purge", "q", "--dry-run")
        assert queue(broker, "q")["depth"] == 1201
        done = json.loads(broker.cli("queue", "purge", "q", "--yes", "--json", *REASON))
        assert (done["removed"], done["staying"]) == (1200, 1)
        assert [(stays["id"], stays["reason"]) for stays in done["stay"]] == [("held", "a worker has it now")]
        assert queue(broker, "q")["depth"] == 1
        told = [line for line in journal(broker, "q") if line[0] == "queue-purged"]
        assert 3 <= len(told) <= 4 and all(reason.endswith(": a test") for _, reason in told), told
        client.ask("SEND", {"queue": "q", "id": "next"}, b"1")
        worker.ack(header)
        header, payload = worker.take()
        assert (header["id"], payload) == ("next", b"1")
        worker.ack(header)
        broker.until("the queue is empty", lambda: queue(broker, "q")["depth"] == 0)
    broker.kill()
    broker.start()
    assert queue(broker, "q")["depth"] == 0
    assert "0 messages removed, 0 stay" in broker.cli("queue", "purge", "q", "--yes", *REASON)
    assert "no queue" in broker.cli("queue", "purge", "none", "--yes", *REASON, code=6)
    broker.kill()
    broker.cli("store", "check")


def test_who_waits_hears_that_its_message_was_purged(make_broker):
    broker = make_broker('[queues."*"]\n').start()
    with Client(broker) as client:
        client.ask("SEND", {"queue": "q", "id": "m", "reply_to": "answers"}, b"{}")
        broker.cli("queue", "purge", "q", "--yes", *REASON)
        assert client.ask("STATUS", {"queue": "q", "id": "m"})[1]["state"] == "cancelled"
    with Worker(broker, "answers") as worker:
        header, _ = worker.take()
        assert header["status"] == "failed" and header["error"]["code"] == "cancelled"
        worker.ack(header)


def test_what_is_exported_comes_back_as_it_was(make_broker):
    broker = make_broker('[queues."*"]\n[queues.bills]\nordering = "none"\n').start()
    odd = [b'{"a": 1.10, "a": 2}', b"\xff\x00\xfe", b"", "é\n\u2028".encode(), random.Random(7).randbytes(3000)]
    with Client(broker) as client, Worker(broker, "bills") as worker:
        client.ask("SEND", {"queue": "bills", "id": "broken", "type": "t", "headers": {"tenant": "fr"}}, b"x")
        header, _ = worker.take()
        worker.nack(header, "it failed")
        broker.until("it is blocked", lambda: queue(broker, "bills")["blocked"] == 1)
    with Client(broker) as client:
        for n, payload in enumerate(odd):
            client.ask("SEND", {"queue": "bills", "id": f"m{n}"}, payload)
    exported = lines(broker.cli("message", "export", "bills"))
    first = exported[0]
    assert (first["state"], first["attempts"], first["error"]["code"]) == ("blocked", 1, "refused")
    assert (first["header"]["headers"], first["payload"]) == ({"tenant": "fr"}, "x")
    assert [line["header"]["id"] for line in exported] == ["broken"] + [f"m{n}" for n in range(5)]
    assert "payload_base64" in exported[2] and "payload" not in exported[2]
    only = lines(broker.cli("message", "export", "bills", "--state", "blocked"))
    assert only == [first]

    copy = broker.data / "bills.jsonl"
    broker.cli("message", "export", "bills", "--output", str(copy))
    assert "exists" in broker.cli("message", "export", "bills", "--output", str(copy), code=1)
    known = broker.cli("message", "import", "--file", str(copy))
    assert known == "0 messages imported, 6 had been accepted before\n", "the ids are the same"
    done = json.loads(broker.cli("message", "import", "--queue", "copy", "--json", stdin=copy.read_bytes()))
    assert done == {"accepted": 6, "duplicates": 0, "lines": 6}
    with Worker(broker, "copy") as worker:
        for wanted, payload in zip(exported, [b"x", *odd]):
            header, found = worker.take()
            assert (header["id"], found) == (wanted["header"]["id"], payload)
            assert header.get("headers") == wanted["header"].get("headers")
            worker.ack(header)
    assert lines(broker.cli("message", "export", "bills", "--output", "-")) == exported
    broker.cli("message", "import", "--new-ids", "--file", str(copy))
    ids = [line["header"]["id"] for line in lines(broker.cli("message", "export", "bills"))]
    assert len(set(ids)) == 12


def test_an_import_stops_at_the_first_refusal_and_names_its_line(make_broker):
    broker = make_broker("[queues.small]\nmax_messages = 300\n").start()
    many = [json.dumps({"queue": "small", "header": {"id": f"m{n}"}, "payload": str(n)}) for n in range(400)]

    def refused(rows, code):
        return broker.cli("message", "import", stdin="\n".join(rows).encode(), code=code)

    said = refused(many, 6)
    assert "line 301: " in said and "lines 1 to 256 are durable" in said, said
    assert queue(broker, "small")["depth"] == 256, "none behind is there"
    said = refused([many[0], "", '{"queue": "none", "payload": "x"}'], 6)
    assert "line 3: " in said and "no queue none" in said, said
    for row, why in [
        ("not JSON", "no message"),
        ('{"queue": "small"}', "no `payload`"),
        ('{"payload": "x"}', "no `queue`"),
        ('{"queue": "small", "payload": "x", "payload_base64": "eA=="}', "both"),
        ('{"queue": "small", "payload_base64": "?"}', "`payload_base64`"),
        ('{"queue": "small", "payload": "x", "header": {"id": 7}}', "id"),
        ('{"queue": "small", "payload": "x", "headr": {"id": "m"}}', "`headr` is unknown"),
    ]:
        said = refused([many[0], row, many[1]], 1)
        assert "line 2: " in said and why in said and "lines 1 to 1 are durable" in said, said


def test_a_drained_queue_accepts_nothing_new_and_empties_until_it_is_resumed(make_broker):
    broker = make_broker('[queues."*"]\n[topics.news]\nsubscriptions = [{ queue = "q" }, { queue = "r" }]\n').start()
    with Client(broker) as client, Worker(broker, "q") as worker:
        client.send("q", b"1", id="one")
        assert "draining" in broker.cli("queue", "drain", "q", "--reason", "moves house")
        shown = broker.cli("queue", "show", "q")
        assert "drained by" in shown and "moves house" in shown
        refused = client.refused("SEND", {"queue": "q", "id": "two"}, b"2")
        assert refused["code"] == "draining" and "moves house" in refused["reason"] and refused["retry_after_ms"] > 0
        assert client.ask("SEND", {"queue": "q", "id": "one"}, b"1")[1]["duplicate"]
        assert client.refused("PUBLISH", {"topic": "news"}, b"x")["code"] == "draining"
        assert depths(broker) == {"q": 1}, "all or none of its queues"
        header, _ = worker.take()
        worker.ack(header)
        broker.until("it is empty", lambda: queue(broker, "q")["depth"] == 0)
        broker.kill()
        broker.start()
    with Client(broker) as client:
        assert queue(broker, "q")["state"] == "draining"
        assert client.refused("SEND", {"queue": "q", "id": "two"}, b"2")["code"] == "draining"
        assert "running" in broker.cli("queue", "resume", "q")
        client.send("q", b"2", id="two")
        assert client.ask("PUBLISH", {"topic": "news"}, b"x")[0] == "ACCEPTED"
    kinds = [kind for kind, _ in journal(broker, "q")]
    assert kinds[:2] == ["resumed", "draining"]
    assert "no queue" in broker.cli("queue", "drain", "nowhere", code=6)
