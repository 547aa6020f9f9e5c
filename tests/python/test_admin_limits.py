"""The admin API over TCP against peers who take their time, send too much, or come in numbers."""

import socket
import time

import pytest

import tokens
from mub1 import PATIENCE
from redis_server import certificates

# The limits are 10 s for headers, 15 s for who shows no token; the rest is a slow machine's.
LIMIT = 30


@pytest.fixture
def secured(make_broker):
    secret, line = tokens.make("anna", "admin")
    return make_broker(tokens.config([line])).start(), secret


def reach(broker):
    _, host, port = tokens.address(broker)
    peer = socket.create_connection((host, port), timeout=PATIENCE)
    peer.settimeout(LIMIT)
    return peer


def end(peer):
    """Reads on until the broker closes; what came, and after how many seconds."""
    came, start = b"", time.monotonic()
    try:
        while part := peer.recv(65536):
            came += part
    except ConnectionError:
        pass
    return came, time.monotonic() - start


def test_who_is_slow_or_silent_is_cut_off_and_others_are_served_meanwhile(secured):
    broker, secret = secured
    silent, half = reach(broker), reach(broker)
    half.sendall(b"GET /v1/overview HTTP/1.1\r\nhost: x\r\nx-slow: ")
    trickling = reach(broker)
    trickling.sendall(b"GET /v1/overview HTTP/1.1\r\nhost: x\r\n")
    start = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < start + LIMIT:
            trickling.sendall(b"x: y\r\n")
            assert tokens.ask(broker, secret, "GET", "/v1/overview")[0] == 200
            trickling.settimeout(0.2)
            try:
                if not trickling.recv(1024):
                    raise ConnectionResetError
            except TimeoutError:
                pass
    for peer in (silent, half):
        assert end(peer)[1] < LIMIT


def test_a_handshake_that_does_not_go_on_is_cut_off(make_broker, tmp_path):
    folder = certificates(tmp_path)
    secret, line = tokens.make("anna", "admin")
    listen = (f'admin = "tcp://127.0.0.1:0"\nadmin_cert_file = "{folder}/server.pem"\n'
              f'admin_key_file = "{folder}/server.key"')
    broker = make_broker(tokens.config([line], listen)).start()
    silent, garbage, plain = reach(broker), reach(broker), reach(broker)
    garbage.sendall(b"\x16\x03\x01\xff\xff" + b"\0" * 100)
    plain.sendall(b"GET /v1/overview HTTP/1.1\r\nhost: x\r\n\r\n")
    for peer in (plain, garbage, silent):
        came, seconds = end(peer)
        assert seconds < LIMIT and b"HTTP" not in came
    assert tokens.ask(broker, secret, "GET", "/v1/overview", trust=str(folder / "ca.pem"))[0] == 200


def test_large_heads_are_refused_and_so_is_garbage(secured):
    broker, secret = secured
    for sent in [b"GET / HTTP/1.1\r\nx: " + b"x" * 100_000, b"GET /" + b"x" * 100_000,
                 b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 1000, b"\0" * 70_000, b"\r\n" * 50_000]:
        peer = reach(broker)
        try:
            peer.sendall(sent)
        except ConnectionError:
            pass
        came, seconds = end(peer)
        assert seconds < LIMIT and (not came or came.startswith(b"HTTP/1.1 4")), came[:80]
    assert tokens.ask(broker, secret, "GET", "/v1/overview")[0] == 200


def test_one_address_has_its_share_of_connections(secured):
    broker, secret = secured
    peers = [reach(broker) for _ in range(64)]
    # They are accepted one after the other: the last is in when it is answered.
    peers[-1].sendall(b"GET /v1/overview HTTP/1.1\r\nhost: x\r\n\r\n")
    assert peers[-1].recv(12) == b"HTTP/1.1 401"
    peers[-1] = reach(broker)
    beyond = reach(broker)
    assert end(beyond)[0] == b"", "closed at once"
    assert broker.admin("GET", "/v1/overview"), "the unix socket has places of its own"
    for peer in peers:
        peer.close()
    broker.until("there are places again", lambda: answered(broker, secret))


def answered(broker, secret):
    try:
        return tokens.ask(broker, secret, "GET", "/v1/overview")[0] == 200
    except OSError:
        return False


def test_large_messages_share_a_room_and_small_ones_pass_beside_them(secured):
    """Bodies are taken into RAM as long as they say that they are, of all who may send together."""
    broker, secret = secured
    head = ("POST /v1/queues/q/publish HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {secret}\r\ncontent-length: {90 * 1024 * 1024}\r\n\r\n{{").encode()
    large = [reach(broker), reach(broker)]
    for peer in large:
        peer.sendall(head)
    refused = broker.until("the other two are being read", lambda: first_line(broker, head))
    assert b" 503 " in refused, refused
    small = {"header": {"id": "small"}, "json": {"n": 1}}
    assert tokens.ask(broker, secret, "POST", "/v1/queues/q/publish", small)[0] == 200
    large.pop().close()

    def has_room():
        peer = reach(broker)
        peer.sendall(head)
        peer.settimeout(0.2)
        try:
            return not peer.recv(64)
        except TimeoutError:
            return True
        finally:
            peer.close()

    broker.until("one has left, and there is room", has_room)


def first_line(broker, head):
    """What is answered at once, if anything is."""
    peer = reach(broker)
    peer.settimeout(0.2)
    try:
        peer.sendall(head)
        return peer.recv(64).split(b"\r\n")[0]
    except TimeoutError:
        return None
    finally:
        peer.close()
