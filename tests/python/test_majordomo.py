"""Majordomo peers, unmodified: raw frames of both versions, PyPI's pyzmq-mdp, zeromq.js."""

import subprocess
import sys
import threading
import uuid

import pytest
import zmq

from mub1 import PATIENCE, REPOSITORY, Client, Worker, plain


class Version:
    """The frames of one version, as its RFC has them."""

    def __init__(self, number):
        self.is_first = number == 1
        self.worker_tag, self.client_tag = (b"MDPW0%d" % number, b"MDPC0%d" % number)
        self.delimiter = [b""] if self.is_first else []
        self.reply = b"\x03" if self.is_first else b"\x04"
        self.heartbeat, self.disconnect = (b"\x04", b"\x05") if self.is_first else (b"\x05", b"\x06")

    def client(self, broker):
        return plain(zmq.REQ if self.is_first else zmq.DEALER, broker.clients)

    def ask(self, client, service, *body):
        command = [] if self.is_first else [b"\x01"]
        client.send_multipart([self.client_tag, *command, service, *body])

    def answer(self, client, command=b"\x03"):
        tag, *rest = client.recv_multipart()
        assert tag == self.client_tag
        if not self.is_first:
            assert rest.pop(0) == command
        service, *body = rest
        return service, body

    def call(self, client, service, *body):
        self.ask(client, service, *body)
        answered, reply = self.answer(client)
        assert answered == service
        return reply

    def say(self, worker, command, *frames):
        worker.send_multipart([*self.delimiter, self.worker_tag, command, *frames])

    def hear(self, worker):
        """The next command that is no heartbeat."""
        while True:
            *_, = frames = worker.recv_multipart()
            if self.is_first:
                assert frames.pop(0) == b""
            tag, command, *rest = frames
            assert tag == self.worker_tag
            if command != self.heartbeat:
                return command, rest
            self.say(worker, self.heartbeat)

    def take(self, worker):
        """The next request: its address, its body."""
        command, (address, empty, *body) = self.hear(worker)
        assert (command, empty) == (b"\x02", b"")
        assert address
        return address, body


@pytest.fixture(params=[1, 2], ids=["0.1", "0.2"])
def mdp(request):
    return Version(request.param)


def served(broker, queue):
    broker.until(f"{queue} is served", lambda: any(queue in worker["queues"] for worker in broker.admin("GET", "/v1/workers")))


def test_a_request_is_worked_on_and_its_reply_comes_back(broker, mdp):
    with mdp.client(broker) as client, plain(zmq.DEALER, broker.workers) as worker:
        mdp.ask(client, b"echo", b"one", b"", b"\x00\xff")
        mdp.say(worker, b"\x01", b"echo")
        address, body = mdp.take(worker)
        assert body == [b"one", b"", b"\x00\xff"]
        mdp.say(worker, mdp.reply, address, b"", b"reply", b"in two")
        assert mdp.answer(client) == (b"echo", [b"reply", b"in two"])
        for n in range(20):
            mdp.ask(client, b"echo", b"%d" % n)
            address, body = mdp.take(worker)
            mdp.say(worker, mdp.reply, address, b"", *body)
            assert mdp.answer(client)[1] == [b"%d" % n]
    broker.until("all is done", lambda: broker.queue("echo")["done"] == 21)


def test_partial_replies_come_as_they_are_made(broker):
    mdp = Version(2)
    with mdp.client(broker) as client, plain(zmq.DEALER, broker.workers) as worker:
        mdp.say(worker, b"\x01", b"parts")
        mdp.ask(client, b"parts", b"go")
        address, _ = mdp.take(worker)
        for text in (b"a", b"b"):
            mdp.say(worker, b"\x03", address, b"", text, b"more")
            assert mdp.answer(client, b"\x02") == (b"parts", [text, b"more"])
        mdp.say(worker, b"\x04", address, b"", b"end")
        assert mdp.answer(client) == (b"parts", [b"end"])


def test_a_worker_that_disconnects_gives_its_request_to_another(broker, mdp):
    with mdp.client(broker) as client:
        mdp.ask(client, b"echo", b"hard")
        with plain(zmq.DEALER, broker.workers) as first, plain(zmq.DEALER, broker.workers) as second:
            mdp.say(first, b"\x01", b"echo")
            late, _ = mdp.take(first)
            mdp.say(second, b"\x01", b"echo")
            mdp.say(first, mdp.disconnect)
            address, body = mdp.take(second)
            assert (address != late, body) == (True, [b"hard"])
            mdp.say(second, mdp.reply, address, b"", b"done")
            assert mdp.answer(client)[1] == [b"done"]
            # A command of a worker that isn't known is unexpected: it is told to begin anew.
            mdp.say(first, mdp.reply, late, b"", b"late")
            assert mdp.hear(first)[0] == mdp.disconnect
            mdp.say(first, b"\x01", b"other")
            mdp.ask(client, b"other", b"x")
            assert mdp.take(first)[1] == [b"x"]


def test_ready_twice_is_answered_with_disconnect(broker, mdp):
    with plain(zmq.DEALER, broker.workers) as worker:
        mdp.say(worker, b"\x01", b"echo")
        served(broker, "echo")
        mdp.say(worker, b"\x01", b"echo")
        assert mdp.hear(worker)[0] == mdp.disconnect
        broker.until("it is gone", lambda: not broker.admin("GET", "/v1/workers"))


def test_what_is_no_command_is_dropped_and_counted(broker, mdp):
    with mdp.client(broker) as client, plain(zmq.DEALER, broker.workers) as worker:
        for frames in ([b"\x09"], [], [b"\x01"], [b"\x01", b"a b"], [mdp.reply, b"nonsense", b"", b"x"], [mdp.reply, b"1.1", b"x"]):
            worker.send_multipart([*mdp.delimiter, mdp.worker_tag, *frames])
        mdp.say(worker, b"\x01", b"echo")
        mdp.ask(client, b"echo", b"fine")
        assert mdp.take(worker)[1] == [b"fine"]
    with plain(zmq.DEALER, broker.clients) as client:
        for frames in ([b"MDPC01"], [b"MDPC02"], [b"MDPC02", b"\x03", b"echo", b"x"], [b"MDPC01", b"echo"], [b"MDPC09", b"echo", b"x"]):
            client.send_multipart(frames)
        client.send_multipart([b"MDPC01", b"mmi.service", b"echo"])
        assert client.recv_multipart()[:2] == [b"MDPC01", b"mmi.service"]
    assert broker.door("workers")["refused"] == 6
    assert broker.door("clients")["refused"] == 5


def test_mmi_says_whether_a_service_is_there(broker, mdp):
    with mdp.client(broker) as client, plain(zmq.DEALER, broker.workers) as worker:
        assert mdp.call(client, b"mmi.service", b"echo") == [b"404"]
        mdp.say(worker, b"\x01", b"echo")
        served(broker, "echo")
        assert mdp.call(client, b"mmi.service", b"echo") == [b"200"]
        assert mdp.call(client, b"mmi.service", b"no such \xff name") == [b"404"]
        assert mdp.call(client, b"mmi.whatever", b"echo") == [b"501"]
        mdp.say(worker, mdp.disconnect)
        broker.until("it is gone", lambda: not broker.admin("GET", "/v1/workers"))
        assert mdp.call(client, b"mmi.service", b"echo") == [b"404"]


def test_titanic_keeps_request_and_reply_through_kill_9(broker, mdp):
    with mdp.client(broker) as client:
        code, ticket = mdp.call(client, b"titanic.request", b"echo", b"one", b"two")
        assert code == b"200"
        uuid.UUID(ticket.decode())
        assert mdp.call(client, b"titanic.reply", ticket) == [b"300"]
    broker.kill()
    broker.start()
    with mdp.client(broker) as client, plain(zmq.DEALER, broker.workers) as worker:
        assert mdp.call(client, b"titanic.reply", ticket) == [b"300"]
        mdp.say(worker, b"\x01", b"echo")
        address, body = mdp.take(worker)
        assert body == [b"one", b"two"]
        mdp.say(worker, mdp.reply, address, b"", b"first", b"second")
        broker.until("it is done", lambda: broker.queue("echo")["done"] == 1)
        assert mdp.call(client, b"titanic.reply", ticket) == [b"200", b"first", b"second"]
        # One that comes after the start of this process, too.
        code, other = mdp.call(client, b"titanic.request", b"echo", b"three")
        address, _ = mdp.take(worker)
        mdp.say(worker, mdp.reply, address, b"", b"third")
        broker.until("it is done", lambda: broker.queue("echo")["depth"] == 0)
    broker.kill()
    broker.start()
    with mdp.client(broker) as client:
        assert mdp.call(client, b"titanic.reply", ticket) == [b"200", b"first", b"second"]
        assert mdp.call(client, b"titanic.reply", other) == [b"200", b"third"]
        assert mdp.call(client, b"titanic.close", ticket) == [b"200"]
        assert mdp.call(client, b"titanic.close", ticket) == [b"200"]
        assert mdp.call(client, b"titanic.reply", ticket) == [b"400"]
        assert mdp.call(client, b"titanic.reply", other) == [b"200", b"third"]
        assert mdp.call(client, b"titanic.reply", str(uuid.uuid4()).encode()) == [b"400"]
        assert mdp.call(client, b"titanic.request") == [b"400"]


def test_titanic_close_takes_a_request_out_of_its_queue_and_keeps_no_reply(broker, mdp):
    def request(client, body):
        code, ticket = mdp.call(client, b"titanic.request", b"echo", body)
        assert code == b"200" and len(ticket) == 32
        return ticket

    with mdp.client(broker) as client, plain(zmq.DEALER, broker.workers) as worker:
        held, waits, last = request(client, b"one"), request(client, b"two"), request(client, b"three")
        mdp.say(worker, b"\x01", b"echo")
        address, body = mdp.take(worker)
        assert body == [b"one"]
        # One that waits, and one that a worker has.
        for ticket in waits, held, uuid.uuid4().hex.encode():
            assert mdp.call(client, b"titanic.close", ticket) == [b"200"]
        assert broker.queue("echo")["depth"] == 2
        mdp.say(worker, mdp.reply, address, b"", b"first")
        address, body = mdp.take(worker)
        assert body == [b"three"], "what was closed is not handed out"
        mdp.say(worker, mdp.reply, address, b"", b"third")
        broker.until("all is done", lambda: broker.queue("echo")["depth"] == 0)
        for ticket, answer in (held, [b"400"]), (waits, [b"400"]), (last, [b"200", b"third"]):
            assert mdp.call(client, b"titanic.reply", ticket) == answer
        # Others' messages are out of reach.
        id = uuid.uuid4().hex
        with Client(broker) as other:
            other.send("echo", b"x", id=id)
        assert mdp.call(client, b"titanic.close", id.encode()) == [b"200"]
    assert broker.queue("echo")["depth"] == 1


def test_peers_of_both_protocols_understand_each_other(broker, mdp):
    with mdp.client(broker) as client, Worker(broker, "mixed") as worker:
        mdp.ask(client, b"mixed", b"{}")
        delivery, payload = worker.take()
        assert payload == b"{}"
        worker.ack(delivery, b"from MUB1")
        assert mdp.answer(client) == (b"mixed", [b"from MUB1"])
    with Client(broker, zmq.DEALER) as client, plain(zmq.DEALER, broker.workers) as worker:
        client.say("CALL", {"queue": "other", "id": "a"}, b"[1]")
        mdp.say(worker, b"\x01", b"other")
        address, body = mdp.take(worker)
        assert body == [b"[1]"]
        mdp.say(worker, mdp.reply, address, b"", b"from Majordomo")
        verb, header, payload = client.hear()
        assert (verb, header["status"], payload) == ("REPLY", "ok", [b"from Majordomo"])


#: pyzmq-mdp as it is: a worker that answers in upper case, until its time is over. What it takes from
#: zmq.eventloop.ioloop is no longer in pyzmq 27 and is given back to it here.
PYZMQ_MDP_WORKER = """
import sys, zmq
from zmq.eventloop import ioloop
from tornado.ioloop import IOLoop

class DelayedCallback:
    def __init__(self, callback, ms):
        self.callback, self.ms = callback, ms
    def start(self):
        self.timer = IOLoop.current().call_later(self.ms / 1000, self.callback)
    def stop(self):
        IOLoop.current().remove_timeout(self.timer)

ioloop.DelayedCallback = DelayedCallback
from mdp.worker import MDPWorker

class Upper(MDPWorker):
    def on_request(self, frames):
        self.reply([frame.upper() for frame in frames])

worker = Upper(zmq.Context(), sys.argv[1], b"upper")
IOLoop.current().call_later(float(sys.argv[2]), IOLoop.current().stop)
IOLoop.current().start()
"""

PYZMQ_MDP_CLIENT = """
import sys, zmq
from zmq.eventloop import ioloop
ioloop.DelayedCallback = None
from mdp.client import mdp_request

socket = zmq.Context().socket(zmq.REQ)
socket.linger = 0
socket.connect(sys.argv[1])
for n in range(10):
    reply = mdp_request(socket, b"upper", [b"hello %d" % n, b"again"], float(sys.argv[2]))
    assert reply == [b"upper", b"HELLO %d" % n, b"AGAIN"], reply
print("ok")
"""


def python(script, *arguments):
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_pyzmq_mdp_is_client_and_worker(broker):
    # Longer than the worker's patience (4 s), so that it lives by heartbeats before and after.
    worker = python(PYZMQ_MDP_WORKER, broker.workers, str(PATIENCE))
    try:
        served(broker, "upper")
        threading.Event().wait(6)
        client = python(PYZMQ_MDP_CLIENT, broker.clients, str(PATIENCE))
        assert client.communicate(timeout=2 * PATIENCE)[0].strip() == "ok"
        assert len(broker.admin("GET", "/v1/workers")) == 1
    finally:
        worker.kill()
        told = worker.communicate()[0]
    assert told == "", told


def test_zeromq_js_is_client_and_worker(broker):
    peer = str(REPOSITORY / "tests/node/majordomo.mjs")
    done = subprocess.run(["node", peer, broker.clients, broker.workers], capture_output=True, text=True, timeout=3 * PATIENCE)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stdout + done.stderr
