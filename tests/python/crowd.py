"""Many clients, or many workers, in one process: `crowd.py clients|workers ADDRESS COUNT`.

Prints a line as JSON once all are there and have what they asked for; ends when its input does, with a last one.
"""

import json
import sys
import time

import zmq

MAGIC = b"MUB1"
#: How long all of a process may take, in seconds.
PATIENCE = 300
QUEUES = 100


def sockets(address, count):
    context = zmq.Context()
    context.max_sockets = count + 16
    for _ in range(count):
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(address)
        yield socket


def say(**what):
    print(json.dumps(what), flush=True)


def clients(address, count, name):
    """Each sends one message and waits for its answer; all stay connected."""
    poller, waiting = zmq.Poller(), {}
    for number, socket in enumerate(sockets(address, count)):
        header = {"queue": f"crowd.{number % QUEUES}", "id": f"{name}-{number}"}
        socket.send_multipart([MAGIC, b"SEND", json.dumps(header).encode(), b"x" * 100])
        waiting[socket] = header["id"]
        poller.register(socket, zmq.POLLIN)
    everybody, errors, end = list(waiting), [], time.monotonic() + PATIENCE
    while waiting and time.monotonic() < end:
        for socket, _ in poller.poll(1000):
            _, verb, header = socket.recv_multipart()[:3]
            if verb != b"ACCEPTED" or json.loads(header)["id"] != waiting.pop(socket):
                errors.append([verb.decode(), header.decode()])
    say(clients=len(everybody), unanswered=len(waiting), errors=errors[:3])
    sys.stdin.read()


def workers(address, count, name):
    """Each does what it gets of one queue, and answers heartbeats, until the input ends."""
    poller, done, others = zmq.Poller(), [], []
    for number, socket in enumerate(sockets(address, count)):
        ready = {"queues": [f"crowd.{number % QUEUES}"], "credit": 1, "worker": {"name": f"{name}-{number}"}}
        socket.send_multipart([MAGIC, b"READY", json.dumps(ready).encode()])
        poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin, zmq.POLLIN)
    say(workers=count)
    while True:
        for socket, _ in poller.poll():
            if socket is sys.stdin or socket == sys.stdin.fileno():
                return say(done=done, others=others)
            _, verb, header = socket.recv_multipart()[:3]
            if verb == b"DELIVER":
                header = json.loads(header)
                done.append(header["id"])
                ack = json.dumps({"delivery": header["delivery"]}).encode()
                socket.send_multipart([MAGIC, b"ACK", ack])
            elif verb == b"HEARTBEAT":
                socket.send_multipart([MAGIC, b"HEARTBEAT", b"{}"])
            else:
                others.append([verb.decode(), header.decode()])


if __name__ == "__main__":
    role, where, many, own = sys.argv[1:]
    {"clients": clients, "workers": workers}[role](where, int(many), own)
