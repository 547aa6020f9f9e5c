#!/usr/bin/env python3
"""A trip as a saga: flight, hotel, car. If the car can't be had, hotel and flight are cancelled, in that order.

Needs pyzmq, and a broker whose configuration has

    [queues."trip.*"]
    on_failure = "dead-letter"

    [sagas.trip]
    steps = [
      { name = "flight", queue = "trip.flight", compensate = "trip.flight.cancel" },
      { name = "hotel", queue = "trip.hotel", compensate = "trip.hotel.cancel" },
      { name = "car", queue = "trip.car" },
    ]

    python3 saga.py '{"to": "Rome"}'                  # all is booked
    python3 saga.py '{"to": "Rome", "car": "tank"}'   # no such car: what was booked is cancelled
"""

import json
import sys
import threading
import uuid

import zmq


def booked(what):
    return lambda context: {"booked": what, "to": context["input"]["to"]}


def cancelled(step):
    # The reply to the step that is taken back is in the context.
    return lambda context: {"cancelled": context["results"][step]["booked"]}


def car(context):
    if context["input"].get("car") == "tank":
        raise ValueError("there are no tanks for hire")
    return {"booked": "a small car"}


WORK = {
    "trip.flight": booked("seat 4A"),
    "trip.flight.cancel": cancelled("flight"),
    "trip.hotel": booked("room 7"),
    "trip.hotel.cancel": cancelled("hotel"),
    "trip.car": car,
}


def tell(*words):
    # In one piece: two threads do it.
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def work(address, stop):
    """One worker for all steps: takes a message, does it, answers with ACK and the result, or NACK."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(address)
    say = lambda verb, header, *rest: socket.send_multipart([b"MUB1", verb, json.dumps(header).encode(), *rest])
    say(b"READY", {"queues": list(WORK), "worker": {"name": "trip"}})
    while not stop.is_set():
        if not socket.poll(500):
            say(b"HEARTBEAT", {})
            continue
        _, verb, *frames = socket.recv_multipart()
        if verb != b"DELIVER":
            continue
        header, context = json.loads(frames[0]), json.loads(frames[1])
        delivery, saga = header["delivery"], header["saga"]
        try:
            result = WORK[header["queue"]](context)
            tell(saga["id"], f"{header['queue']}: {result}")
            say(b"ACK", {"delivery": delivery}, json.dumps(result).encode())
        except Exception as error:
            tell(saga["id"], f"{header['queue']}: {error}")
            reason = {"code": type(error).__name__, "message": str(error)}
            say(b"NACK", {"delivery": delivery, "error": reason, "action": "dead-letter"})
    say(b"BYE", {})
    socket.close(linger=1000)


def main(payload, clients="tcp://127.0.0.1:5555", workers="tcp://127.0.0.1:5556"):
    ended, stop = f"trip.ended.{uuid.uuid4()}", threading.Event()
    done = zmq.Context.instance().socket(zmq.DEALER)
    done.connect(workers)
    ready = {"queues": [ended], "worker": {"name": "trip-ended"}}
    done.send_multipart([b"MUB1", b"READY", json.dumps(ready).encode()])
    worker = threading.Thread(target=work, args=(workers, stop))
    worker.start()
    client = zmq.Context.instance().socket(zmq.REQ)
    client.connect(clients)
    header = {"saga": "trip", "id": f"trip-{uuid.uuid4()}", "reply_to": ended}
    client.send_multipart([b"MUB1", b"START", json.dumps(header).encode(), payload.encode()])
    _, verb, answer, *_ = client.recv_multipart()
    tell(verb.decode(), answer.decode())
    while verb == b"ACCEPTED":
        if not done.poll(500):
            done.send_multipart([b"MUB1", b"HEARTBEAT", b"{}"])
            continue
        _, what, *frames = done.recv_multipart()
        if what == b"DELIVER":
            end = json.loads(frames[0])
            tell(end["saga"]["state"], frames[1].decode())
            done.send_multipart([b"MUB1", b"ACK", json.dumps({"delivery": end["delivery"]}).encode(), b""])
            break
    stop.set()
    worker.join()
    zmq.Context.instance().destroy(linger=1000)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ['{"to": "Rome"}']))
