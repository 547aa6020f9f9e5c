"""What no honest peer sends, on every port of the real binary, with its memory watched.

What a peer sees: a clear REJECTED where the frames could be read, else a closed connection. After each,
an honest client still works.
"""

import contextlib
import json
import random
import socket
import struct
import time

import pytest
import zmq

import zmtp
from mub1 import PATIENCE, AdminConnection, Broker, Client, Worker, WorkerThread

#: What the broker may hold at any time of this, in bytes. Idle it has about a tenth of it; one message
#: may take 32 MiB, a client's unread answers a few more.
MEMORY = 160 * 1024 * 1024
DOORS = ("clients", "workers")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("b")).start()
    yield broker
    assert broker.stop() == 0
    assert "panicked" not in broker.tail(), broker.tail()


@pytest.fixture(autouse=True)
def honest_peers_still_work(target):
    yield
    assert target.process.poll() is None, f"the broker is gone\n{target.tail()}"
    with Client(target) as client, WorkerThread(target, "honest") as worker:
        answer = client.send("honest", b"still there?")
        assert not answer["duplicate"]
        worker.wait_for("the honest message", lambda seen: seen)
    assert target.rss_bytes() < MEMORY, f"{target.rss_bytes() >> 20} MiB"
    assert "panicked" not in target.tail(), target.tail()


def each_door(test):
    return pytest.mark.parametrize("door", DOORS)(test)


@each_door
def test_random_bytes_are_dropped(target, door):
    dice = random.Random(1)
    for _ in range(50):
        with contextlib.closing(zmtp.dial(getattr(target, door))) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(dice.randbytes(dice.randint(1, 4096)))
    with contextlib.closing(zmtp.dial(getattr(target, door))) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(dice.randbytes(65536))
        assert zmtp.closed(connection)


@each_door
def test_random_bytes_after_the_handshake_are_dropped(target, door):
    dice = random.Random(2)
    for _ in range(30):
        with contextlib.closing(zmtp.handshake(getattr(target, door))) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(dice.randbytes(dice.randint(1, 4096)))


@each_door
def test_half_a_handshake_is_ended_by_its_time_limit(target, door):
    cuts = [0, 1, 10, 11, 63, 64, 70]
    connections = [zmtp.dial(getattr(target, door)) for _ in cuts]
    for connection, cut in zip(connections, cuts):
        connection.sendall((zmtp.GREETING + zmtp.ready())[:cut])
    for connection in connections:
        with contextlib.closing(connection):
            assert zmtp.closed(connection)


@each_door
@pytest.mark.parametrize("length", [2**62, 2**63, 2**64 - 1, 2**31, 64 * 1024 * 1024])
def test_a_huge_declared_length_is_not_believed(target, door, length):
    before = target.rss_bytes()
    with contextlib.closing(zmtp.handshake(getattr(target, door))) as connection:
        connection.sendall(bytes([2]) + struct.pack(">Q", length) + b"x" * 100)
        assert zmtp.closed(connection)
    assert target.rss_bytes() < before + 32 * 1024 * 1024


@each_door
def test_a_message_of_endless_frames_is_cut_off(target, door):
    with contextlib.closing(zmtp.handshake(getattr(target, door))) as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(zmtp.frame(b"", more=True) * 10_000)
        assert zmtp.closed(connection)


@each_door
def test_a_message_of_endless_bytes_is_cut_off(target, door):
    with contextlib.closing(zmtp.handshake(getattr(target, door))) as connection:
        part = zmtp.frame(b"x" * 1_000_000, more=True)
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(part)
        assert zmtp.closed(connection)


@each_door
@pytest.mark.parametrize(
    "greeting",
    [
        zmtp.GREETING[:12] + b"PLAIN" + bytes(47),
        zmtp.GREETING[:12] + b"CURVE" + bytes(47),
        zmtp.GREETING[:10] + b"\x01" + zmtp.GREETING[11:],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b" " * 64,
    ],
    ids=["PLAIN", "CURVE", "ZMTP-1", "HTTP"],
)
def test_another_mechanism_or_protocol_is_dropped(target, door, greeting):
    with contextlib.closing(zmtp.dial(getattr(target, door))) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(greeting + zmtp.ready())
        assert zmtp.closed(connection)


@each_door
def test_an_endless_ready_is_dropped(target, door):
    with contextlib.closing(zmtp.dial(getattr(target, door))) as connection:
        connection.sendall(zmtp.GREETING)
        with contextlib.suppress(ConnectionError):
            connection.sendall(zmtp.ready(**{f"X-{n}": b"y" * 1000 for n in range(1000)}))
        assert zmtp.closed(connection)


@each_door
def test_a_zmtp_ping_is_answered_with_its_context(target, door):
    with contextlib.closing(zmtp.handshake(getattr(target, door))) as connection:
        connection.sendall(zmtp.frame(b"\x04PING" + struct.pack(">H", 100) + b"context", command=True))
        flags, body = zmtp.read_frame(connection)
        assert flags & 4 and body == b"\x04PONGcontext"


@each_door
def test_libzmq_with_its_own_heartbeats_stays_connected(target, door):
    context = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.linger = 0
    peer.heartbeat_ivl, peer.heartbeat_timeout = 100, 1000
    monitor = peer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    peer.connect(getattr(target, door))
    cut = monitor.poll(1500)
    peer.disable_monitor()
    context.destroy(linger=0)
    assert not cut, "the connection was cut"


def test_ten_megabytes_of_header_are_refused(target):
    with Client(target, zmq.DEALER) as client:
        client.say("SEND", b'{"queue":"q","x":"' + b"y" * 10_000_000 + b'"}', b"x")
        verb, answer, _ = client.hear()
        assert (verb, answer["code"]) == ("REJECTED", "too_large")


def test_frames_that_are_no_envelope_are_refused_with_what_is_wrong(target):
    with Client(target, zmq.DEALER) as client:
        for frames in ([b""], [b"", b""], [b"MUB1"], [b"MUB2", b"SEND", b"{}"], [b"\xff\xfe"] * 5):
            client.say_frames(*frames)
            verb, answer, _ = client.hear_any()
            assert verb == "REJECTED", (frames, answer)
            assert answer["code"] in ("malformed", "unsupported"), (frames, answer)


def test_a_worker_that_talks_nonsense_is_told(target):
    with Worker(target, "q") as worker:
        for verb, header in [
            ("ACK", {}),
            ("ACK", {"delivery": "not one"}),
            ("NACK", {"delivery": 7}),
            ("READY", {"queues": "q"}),
            ("READY", {"queues": []}),
            ("READY", {"queues": ["q"], "credit": 10**9}),
            ("DANCE", {}),
            ("ACK", b"{oops"),
        ]:
            worker.say(verb, header)
            told, answer, _ = worker.hear()
            assert told == "REJECTED", (verb, header, told, answer)


def test_deep_json_does_not_exhaust_the_stack(target):
    with Client(target) as client:
        answer = client.refused("SEND", b'{"queue":"q","x":' + b"[" * 30_000, b"x")
        assert answer["code"] == "malformed"


def test_a_reader_who_stops_reading_costs_bounded_memory_and_nobody_else_waits(target):
    with contextlib.closing(zmtp.handshake(target.clients)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(1)
        flood = zmtp.message(b"MUB1", b"HELLO", b'{"client":"deaf","version":"1"}') * 2000
        end, sent, slowest, peak = time.monotonic() + 2 * PATIENCE, 0, 0.0, 0
        with Client(target) as client:
            while time.monotonic() < end:
                try:
                    sent += deaf.send(flood)
                except TimeoutError:
                    pass  # back-pressure: the broker takes no more from it
                except ConnectionError:
                    break  # cut off
                began = time.monotonic()
                assert client.ask("PING")[0] == "PONG"
                slowest = max(slowest, time.monotonic() - began)
                peak = max(peak, target.rss_bytes())
        assert peak < MEMORY, f"{peak >> 20} MiB after {sent >> 20} MiB of requests"
        assert slowest < 5, f"an honest client waited {slowest:.1f} s"
        assert zmtp.closed(deaf), "who reads nothing is cut off"


def test_a_worker_who_stops_reading_holds_no_more_than_its_credit(target):
    with contextlib.closing(zmtp.handshake(target.workers)) as deaf, Client(target, zmq.DEALER) as client:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        header = b'{"queues":["deaf"],"credit":1024,"worker":{"name":"deaf"}}'
        deaf.sendall(zmtp.message(b"MUB1", b"READY", header))
        for n in range(20):
            client.send("deaf", b"x" * 1_000_000, id=f"deaf-{n}-{time.monotonic_ns()}")
        assert target.queue("deaf")["leased"] <= 1


def test_a_thousand_connections_are_held_or_refused(target):
    connections = []
    try:
        for _ in range(1000):
            connection = zmtp.dial(target.clients)
            connections.append(connection)
            with contextlib.suppress(ConnectionError):
                connection.sendall(zmtp.GREETING)
        assert target.rss_bytes() < MEMORY
    finally:
        for connection in connections:
            connection.close()


def test_peers_killed_in_the_middle_of_a_message_leave_nothing(target):
    whole = zmtp.message(b"MUB1", b"SEND", b'{"queue":"halves"}', b"x" * 100_000)
    for cut in range(1, len(whole), 9973):
        with contextlib.closing(zmtp.handshake(target.clients)) as connection:
            connection.sendall(whole[:cut])
            # RST, as from a process that was killed with unread data.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    names = [queue["name"] for queue in target.admin("GET", "/v1/queues")]
    assert "halves" not in names


@pytest.mark.parametrize(
    "garbage",
    [
        bytes(range(256)) * 100,
        b"GET /" + b"x" * 10_000_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500_000,
        b"POST /v1/queues/q/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 1000,
    ],
    ids=["bytes", "target", "headers", "body"],
)
def test_garbage_on_the_admin_socket_is_answered_or_dropped(target, garbage):
    connection = AdminConnection(target.data / "admin.sock")
    connection.connect()
    with contextlib.closing(connection), contextlib.suppress(ConnectionError):
        connection.sock.sendall(garbage)
    assert target.admin("GET", "/v1/overview")["pid"] == target.pid


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/queues/none", None, 404),
        ("GET", "/v1/queues/a%2Fb", None, None),
        ("GET", "/v1/queues/honest/messages?from=-1", None, None),
        ("POST", "/v1/queues/honest/messages/1/repair", {"key": 7}, None),
        ("POST", "/v1/queues/honest/pause", ["not", "an", "object"], None),
        ("GET", "/v2/everything", None, 404),
    ],
)
def test_a_bad_admin_request_is_told_as_a_problem(target, method, path, body, status):
    connection = AdminConnection(target.data / "admin.sock")
    with contextlib.closing(connection):
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json"})
        response = connection.getresponse()
        said = response.read()
        assert 400 <= response.status < 500 and (status is None or response.status == status), said
        assert b'"detail"' in said, said
