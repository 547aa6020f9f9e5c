#!/usr/bin/env python3
"""Scatter-gather with pyzmq: ask several insurers for a price, and take the best that comes in time.

    gather.py worker QUEUE PRICE [--broker tcp://127.0.0.1:5556]    an insurer
    gather.py ask [--broker tcp://127.0.0.1:5555]                   who needs a price

The broker keeps the request, the replies and the deadline: kill and start it in between, ask again with the
same id, and the answer comes.
"""

import argparse
import json
import uuid

import zmq

INSURERS = ["insurer.a", "insurer.b", "insurer.c"]


def connect(address):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 1000
    socket.connect(address)
    return socket


def say(socket, verb, header, payload=None):
    frames = [b"MUB1", verb, json.dumps(header).encode()]
    socket.send_multipart(frames if payload is None else [*frames, payload])


def hear(socket):
    _, verb, header, *payload = socket.recv_multipart()
    return verb, json.loads(header), payload


def gather(address, car, timeout_ms=5000, id=None):
    """The status, the replies by queue, and who is missing."""
    client = connect(address)
    request = {
        "id": id or str(uuid.uuid4()),  # ask again with the same one after a lost connection
        "recipients": INSURERS,         # or "gather": "quotes", with [gathers."quotes"] in the configuration
        "complete": "all",              # or 2, or "parts.exists(p, p.body.price < 100)"
        "timeout_ms": timeout_ms,
    }
    say(client, b"GATHER", request, json.dumps(car).encode())
    verb, answer, parts = hear(client)
    if verb != b"REPLY":
        raise RuntimeError(f"{answer['code']}: {answer['reason']}")
    replies = {queue: json.loads(part) for queue, part in zip(answer["parts"], parts)}
    return answer["status"], replies, answer["missing"]


def work(address, queue, price, count=None):
    """Gives everybody this price; `count` times, or for ever."""
    worker = connect(address)
    say(worker, b"READY", {"queues": [queue], "worker": {"name": queue}})
    while count is None or count > 0:
        verb, header, payload = hear(worker)
        if verb == b"HEARTBEAT":
            say(worker, b"HEARTBEAT", {})
        elif verb == b"DELIVER":
            car = json.loads(payload[0])
            reply = {"price": price, "for": car["plate"]}
            say(worker, b"ACK", {"delivery": header["delivery"]}, json.dumps(reply).encode())
            count = count and count - 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser("worker")
    worker.add_argument("queue")
    worker.add_argument("price", type=float)
    worker.add_argument("--broker", default="tcp://127.0.0.1:5556")
    ask = commands.add_parser("ask")
    ask.add_argument("--broker", default="tcp://127.0.0.1:5555")
    args = parser.parse_args()
    if args.command == "worker":
        return work(args.broker, args.queue, args.price)
    status, replies, missing = gather(args.broker, {"plate": "AB-123-CD"})
    print(status, replies)
    for one in missing:
        print(f"{one['queue']} is missing: {one['message']}")
    if replies:
        best = min(replies, key=lambda queue: replies[queue]["price"])
        print(f"best: {best} at {replies[best]['price']}")


if __name__ == "__main__":
    main()
