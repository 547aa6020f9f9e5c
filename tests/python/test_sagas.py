"""Sagas from the outside: the example in assets, kill -9 between steps, and an operator who puts a parked one right."""

import json
import subprocess
import sys
from pathlib import Path

from mub1 import Client, Worker

EXAMPLE = Path(__file__).parents[2] / "assets/clients/python/saga.py"
CONFIG = """
[queues."*"]
on_failure = "dead-letter"
[sagas.trip]
steps = [
  { name = "flight", queue = "trip.flight", compensate = "trip.flight.cancel" },
  { name = "hotel", queue = "trip.hotel", compensate = "trip.hotel.cancel" },
  { name = "car", queue = "trip.car" },
]
"""


def trip(broker, **given):
    """Runs the example; its lines without the saga's id."""
    command = [sys.executable, EXAMPLE, json.dumps({"to": "Rome", **given}), broker.clients, broker.workers]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = run.stdout.splitlines()
    # The first step may be done before the client has read this.
    accepted = next(line for line in lines if line.startswith("ACCEPTED "))
    id = json.loads(accepted.removeprefix("ACCEPTED "))["id"]
    return id, [line.removeprefix(f"{id} ") for line in lines if line != accepted]


def start(client, id, **header):
    verb, answer, rest = client.ask("START", {"saga": "trip", "id": id, **header}, b'{"to": "Rome"}')
    assert (verb, answer["id"], answer["saga"], rest) == ("ACCEPTED", id, "trip", []), answer
    return answer


def saga(broker, id):
    found = broker.admin("GET", f"/v1/sagas/{id}")["saga"]
    return found["state"], [step["state"] for step in found["steps"]]


def test_the_example_books_a_trip_or_takes_it_back(make_broker):
    broker = make_broker(CONFIG).start()
    id, lines = trip(broker)
    assert [line.split(":")[0] for line in lines[:3]] == ["trip.flight", "trip.hotel", "trip.car"]
    state, end = lines[3].split(" ", 1)
    results = json.loads(end)["results"]
    assert (state, results["car"]["booked"], results["hotel"]["to"]) == ("completed", "a small car", "Rome")
    assert saga(broker, id) == ("completed", ["done"] * 3)
    id, lines = trip(broker, car="tank")
    assert [line.split(":")[0] for line in lines[2:5]] == ["trip.car", "trip.hotel.cancel", "trip.flight.cancel"]
    assert lines[3] == "trip.hotel.cancel: {'cancelled': 'room 7'}"
    assert lines[5].startswith("compensated ")
    assert saga(broker, id) == ("compensated", ["compensated", "compensated", "failed"])
    assert "step car: its worker rejected it" in broker.cli("saga", "show", id)


def test_a_saga_goes_on_after_a_kill_and_no_step_is_done_twice(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        assert start(client, "t1", reply_to="ended")["duplicate"] is False
    for queue in ("trip.flight", "trip.hotel", "trip.car"):
        broker.kill()
        broker.start()
        with Worker(broker, queue) as worker:
            header, payload = worker.take()
            assert header["id"] == f"t1/{queue.removeprefix('trip.')}"
            worker.ack(header, b"1")
            broker.until(f"{queue} is empty", lambda: broker.queue(queue)["depth"] == 0)
    assert saga(broker, "t1") == ("completed", ["done"] * 3)
    with Worker(broker, "ended") as worker:
        header, payload = worker.take()
        assert (header["saga"]["state"], header["correlation_id"]) == ("completed", "t1")
        assert payload == b'{"input":{"to": "Rome"},"results":{"flight":1,"hotel":1,"car":1}}'
        worker.ack(header)
    with Client(broker) as client:
        assert start(client, "t1")["duplicate"] is True


def test_a_parked_saga_is_put_right_from_the_command_line(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client:
        start(client, "t1")
        refused = client.refused("START", {"saga": "none"}, b"{}")
        assert refused["code"] == "malformed" and "no saga none" in refused["reason"]
    for queue, action in [("trip.flight", "ack"), ("trip.hotel", "nack"), ("trip.flight.cancel", "nack")]:
        with Worker(broker, queue) as worker:
            header, _ = worker.take()
            worker.ack(header, b"1") if action == "ack" else worker.nack(header, "no", action="dead-letter")
            broker.until(f"{queue} is empty", lambda: broker.queue(queue)["depth"] == 0)
    assert saga(broker, "t1") == ("parked", ["stuck", "failed", "pending"])
    assert "step flight: its worker rejected it" in broker.cli("saga", "ls", "--state", "parked")
    assert "trip t1 is compensating" in broker.cli("saga", "retry", "t1", "--reason", "the airline is back")
    with Worker(broker, "trip.flight.cancel") as worker:
        header, _ = worker.take()
        assert header["id"] == "t1/flight/undo~2"
        worker.ack(header)
        broker.until("it ends", lambda: saga(broker, "t1")[0] == "compensated")
    assert "saga trip t1: the airline is back" in broker.cli("journal")
    broker.cli("saga", "retry", "t1", code=6)


def test_a_step_whose_worker_was_lost_is_unknown_and_taken_back(make_broker):
    broker = make_broker(CONFIG).start()
    with Client(broker) as client, Worker(broker, "trip.flight") as flight:
        start(client, "t1")
        flight.ack(flight.take()[0], b"1")
        with Worker(broker, "trip.hotel") as lost:
            lost.take()
        with Worker(broker, "trip.hotel") as next_one:
            header, _ = next_one.take()
            assert header["attempt"] == 2
            next_one.nack(header, "no room", action="dead-letter")
            with Worker(broker, "trip.hotel.cancel") as cancels:
                header, _ = cancels.take()
                assert header["saga"]["compensates"]["code"] == "rejected"
                assert saga(broker, "t1") == ("compensating", ["done", "compensating", "pending"])
                cancels.ack(header)
    with Worker(broker, "trip.flight.cancel") as cancels:
        cancels.ack(cancels.take()[0])
        broker.until("it has ended", lambda: saga(broker, "t1")[0] == "compensated")
    assert saga(broker, "t1")[1] == ["compensated", "compensated", "pending"]
