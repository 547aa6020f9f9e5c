"""The main job: sent, kept, failed, blocked, repaired, done."""

import json

import zmq

from mub1 import Client, WorkerThread
from payloads import ODD

BAD = 400
LAST = 1000


def payload(n):
    """Message n of 1…1000: an invoice, now and then with what a rewrite would change."""
    if n == BAD:
        return b'{"n":400,"amount":"12,50","a":1.10,"id":12345678901234567890123,"twice":1,"twice":2}'
    if n % 50 == 0:
        return ODD[n // 50 % len(ODD)]
    return b'{"n":%d,"amount":%d.50,"z":1,"a":2}' % (n, n)


def work(header, body):
    """Refuses an amount that is no number, as a real connector would."""
    try:
        amount = json.loads(body).get("amount", 0)
    except (ValueError, AttributeError):
        return b""
    if not isinstance(amount, (int, float)):
        raise ValueError(f"amount is {amount!r}, not a number")
    return b""


def publish(client, dealer, numbers):
    """Every third by REQ, the others by a DEALER that waits after each: the order is the sender's."""
    for n in numbers:
        sender = client if n % 3 == 0 else dealer
        answer = sender.send("invoices", payload(n), id=f"invoice-{n}", type="invoice")
        assert answer == {
            "id": f"invoice-{n}", "queue": "invoices", "seq": n, "duplicate": False,
        }


def test_a_failed_message_blocks_its_queue_until_it_is_repaired_in_its_place(broker, tmp_path):
    with (
        Client(broker) as client,
        Client(broker, zmq.DEALER) as dealer,
        WorkerThread(broker, "invoices", work=work) as worker,
    ):
        publish(client, dealer, range(1, 601))
        worker.wait_for("the bad message", lambda seen: len(seen) >= BAD)
        view = broker.blocked("invoices")
        assert view["head"]["seq"] == BAD
        assert "amount is '12,50'" in view["head"]["error"]["message"]

        # Publishing goes on, and nothing behind the head is delivered.
        publish(client, dealer, range(601, LAST + 1))
        assert len(worker.seen) == BAD
        verb, status, _ = client.ask("STATUS", {"id": f"invoice-{BAD + 1}"})
        assert (verb, status["state"], status["attempt"]) == ("STATUS", "ready", 0)

        fixed = payload(BAD).replace(b'"12,50"', b"12.50")
        file = tmp_path / "fixed.json"
        file.write_bytes(fixed)
        broker.cli("message", "edit", "invoices", str(BAD), "--file", str(file), "--retry")
        worker.wait_for("all messages", lambda seen: len(seen) >= LAST + 1)

    # 1…400, 400 again, 401…1000; each once, with its own id and its own bytes.
    expected = [*range(1, BAD + 1), *range(BAD, LAST + 1)]
    assert [header["seq"] for header, _ in worker.seen] == expected
    assert [header["id"] for header, _ in worker.seen] == [f"invoice-{n}" for n in expected]
    assert all(header["type"] == "invoice" for header, _ in worker.seen)
    bodies = [body for _, body in worker.seen]
    assert bodies[: BAD] == [payload(n) for n in range(1, BAD + 1)]
    assert bodies[BAD] == fixed
    assert bodies[BAD + 1 :] == [payload(n) for n in range(BAD + 1, LAST + 1)]
    first, second = (header for header, _ in worker.seen[BAD - 1 : BAD + 1])
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["delivery"] != second["delivery"]

    broker.until("the queue is empty", lambda: broker.queue("invoices")["depth"] == 0)
    entries = json.loads(broker.cli("journal", "--json"))["entries"]
    kinds = [entry["kind"] for entry in entries if entry.get("seq") == BAD]
    assert kinds == ["saved-and-retried", "blocked"]


def test_every_odd_payload_arrives_as_it_was_sent_also_after_a_restart(make_broker):
    broker = make_broker().start()
    with Client(broker) as client:
        for body in ODD:
            client.send("odd", body)
    assert broker.stop() == 0
    broker.start()
    with WorkerThread(broker, "odd") as worker:
        worker.wait_for("the odd payloads", lambda seen: len(seen) == len(ODD))
    assert [body for _, body in worker.seen] == ODD


def test_a_headers_fields_arrive_in_their_order_with_their_digits(broker):
    header = b'{"queue":"h","x-b":1.10,"id":"h-1","x-a":12345678901234567890123,"headers":{"z":1,"a":{}}}'
    with Client(broker) as client, WorkerThread(broker, "h") as worker:
        assert client.ask("SEND", header, b"x")[0] == "ACCEPTED"
        worker.wait_for("the message", lambda seen: seen)
    got = worker.seen[0][0]
    names = [name for name in got if name in ("x-b", "id", "x-a", "headers")]
    assert names == ["x-b", "id", "x-a", "headers"]
    assert got["x-a"] == 12345678901234567890123
