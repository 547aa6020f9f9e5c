"""CURVE and PLAIN at the broker's doors, by libzmq's own ends of them, and by hand."""

import json
import subprocess

import pytest
import zmq

import tokens
import zmtp
from mub1 import BINARY, PATIENCE, Peer
from test_hello import hello, refusals

NEEDED = "clients = true\nworkers = true"


def keygen(*more):
    done = subprocess.run([BINARY, "curve", "keygen", "--json", *more], capture_output=True, check=True, timeout=PATIENCE)
    return json.loads(done.stdout)


@pytest.fixture
def curved(make_broker, tmp_path):
    """A broker with a key, a token of each kind of peer, and one with a client's key."""
    file = tmp_path / "broker.key"
    public = keygen("--out", str(file))["public"]
    assert file.stat().st_mode & 0o777 == 0o600
    client = keygen()
    made = {"send": tokens.make("send", "producer"), "work": tokens.make("work", "worker"),
            "keyed": tokens.make("keyed", "admin", "--curve-key", client["public"])}
    listen = f'admin = "tcp://127.0.0.1:0"\ncurve_key_file = "{file}"'
    broker = make_broker(tokens.config([line for _, line in made.values()], listen, NEEDED)).start()
    return broker, public, client, {name: token for name, (token, _) in made.items()}


class Curved(Peer):
    def __init__(self, address, server, pair, kind=zmq.DEALER):
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        self.socket.curve_serverkey = server.encode()
        self.socket.curve_publickey, self.socket.curve_secretkey = pair["public"].encode(), pair["secret"].encode()
        self.socket.connect(address)


def test_a_known_key_is_a_token_and_messages_of_all_sizes_pass(curved):
    broker, public, pair, _ = curved
    with Curved(broker.workers, public, pair) as worker, Curved(broker.clients, public, pair) as client:
        worker.say("READY", {"queues": ["q"], "worker": {"name": "w"}})
        for size in (0, 1, 200, 255, 256, 5_000, 70_000, 8 * 1024 * 1024):
            payload = bytes(size)
            client.say("SEND", {"queue": "q"}, payload)
            assert client.hear()[0] == "ACCEPTED"
            while (heard := worker.hear())[0] != "DELIVER":
                worker.say("HEARTBEAT")
            assert heard[2] == [payload], size
            worker.say("ACK", {"delivery": heard[1]["delivery"]})
        many = b"x" * 1000
        for _ in range(500):
            client.say("SEND", {"queue": "many"}, many)
        for _ in range(500):
            assert client.hear()[0] == "ACCEPTED"
    assert broker.queue("many")["depth"] == 500


def test_a_key_that_is_not_known_is_encrypted_and_says_hello(curved):
    broker, public, _, secrets = curved
    with Curved(broker.clients, public, keygen()) as client:
        client.say("SEND", {"queue": "q"}, b"{}")
        assert client.hear()[1]["code"] == "unauthorized"
        assert hello(client, secrets["send"])[0] == "WELCOME"
        client.say("SEND", {"queue": "q"}, b"{}")
        assert client.hear()[0] == "ACCEPTED"


def test_a_stranger_hears_that_its_message_is_too_large(curved):
    broker, public, _, secrets = curved

    def ask(kind, address, frames):
        with Curved(address, public, keygen(), kind) as peer:
            peer.socket.send_multipart(frames)
            assert peer.socket.poll(PATIENCE * 1000), "it is answered before the end"
            return peer.socket.recv_multipart()

    before = refusals(broker, "message-bytes")
    large = [b"MUB1", b"SEND", b'{"queue": "q"}', bytes(1024 * 1024)]
    answers = [
        ask(zmq.DEALER, broker.clients, large),
        # Together they are too large, each by itself isn't.
        ask(zmq.DEALER, broker.clients, [b"MUB1", b"SENDMANY", *[bytes(9_000)] * 2]),
        ask(zmq.REQ, broker.clients, large),
        ask(zmq.DEALER, broker.workers, large),
    ]
    for said in answers:
        assert said[:2] == [b"MUB1", b"REJECTED"]
        why = json.loads(said[2])
        assert why["code"] == "unauthorized" and "16384 bytes" in why["reason"]
    # After a token all is heard.
    with Curved(broker.clients, public, keygen()) as client:
        assert hello(client, secrets["send"])[0] == "WELCOME"
        client.socket.send_multipart(large)
        assert client.hear()[0] == "ACCEPTED"
    assert refusals(broker, "message-bytes") >= before + 4


def test_a_door_that_speaks_curve_alone_hears_nothing_in_clear(make_broker, tmp_path):
    file, pair = tmp_path / "broker.key", keygen()
    public = keygen("--out", str(file))["public"]
    token, line = tokens.make("keyed", "admin", "--curve-key", pair["public"])
    listen = f'admin = "tcp://127.0.0.1:0"\ncurve_key_file = "{file}"'
    broker = make_broker(tokens.config([line], listen, NEEDED + "\ncurve_clients = true")).start()
    with Curved(broker.clients, public, pair) as client:
        client.say("SEND", {"queue": "q"}, b"{}")
        assert client.hear()[0] == "ACCEPTED"
    context = zmq.Context()
    for plain in (False, True):
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        if plain:
            socket.plain_username, socket.plain_password = b"keyed", token.encode()
        socket.connect(broker.clients)
        socket.send_multipart([b"MUB1", b"PING"])
        broker.until("it is refused", lambda: broker.door("clients")["cut_off_for"].get("mechanism", 0) > plain)
        assert not socket.poll(0)
        socket.close()
    context.term()
    assert broker.queue("q")["depth"] == 1


def test_the_wrong_server_key_gets_nowhere(curved):
    broker, _, pair, _ = curved
    before = refusals(broker, "encryption")
    with Curved(broker.clients, keygen()["public"], pair) as client:
        client.say("PING")
        broker.until("it is refused", lambda: refusals(broker, "encryption") > before)
        assert client.silent(0.1)


def test_a_revoked_key_is_one_that_is_not_known(curved):
    broker, public, pair, _ = curved
    with Curved(broker.clients, public, pair) as client:
        client.say("SEND", {"queue": "q"}, b"{}")
        assert client.hear()[0] == "ACCEPTED"
        broker.cli("token", "revoke", "keyed")
        # It connects again by itself.
        broker.until("its connection is cut", lambda: refusals(broker, "token") >= 1)
        client.say("SEND", {"queue": "q"}, b"{}")
        assert client.hear()[1]["code"] == "unauthorized"


class Tap:
    """Passes bytes between a client and the broker, and keeps what the client said."""

    def __init__(self, address):
        import socket
        import threading
        host, port = address.removeprefix("tcp://").rsplit(":", 1)
        self.there, self.said = (host, int(port)), bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        import socket
        import threading
        here, _ = self.listener.accept()
        there = socket.create_connection(self.there)

        def pump(source, sink, kept):
            try:
                while part := source.recv(65536):
                    if kept is not None:
                        kept += part
                    sink.sendall(part)
            except OSError:
                pass

        threading.Thread(target=pump, args=(there, here, None), daemon=True).start()
        pump(here, there, self.said)


def test_a_handshake_that_was_recorded_opens_nothing(curved):
    broker, public, pair, _ = curved
    tap = Tap(broker.clients)
    with Curved(tap.address, public, pair) as client:
        client.say("SEND", {"queue": "q", "id": "once"}, b"precious")
        assert client.hear()[0] == "ACCEPTED"
    assert b"precious" not in tap.said and b"SEND" not in tap.said, "it was encrypted"
    before = refusals(broker, "encryption")
    replayed = zmtp.dial(broker.clients)
    replayed.sendall(bytes(tap.said))
    broker.until("it is refused", lambda: refusals(broker, "encryption") > before)
    with pytest.raises((EOFError, ConnectionError)):
        while True:
            zmtp.read_exactly(replayed, 1)
    assert broker.queue("q")["depth"] == 1


def greeting(mechanism):
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32)


def test_garbage_in_each_place_of_the_handshake_is_refused(curved):
    broker, public, pair, _ = curved
    hello_frame = b"\x05HELLO\x01\x00" + bytes(72) + bytes(32) + bytes(8) + bytes(80)
    for sent in [
        zmtp.frame(hello_frame, command=True),
        zmtp.frame(hello_frame[:100], command=True),
        zmtp.frame(b"\x05HELLO\x02\x00" + bytes(192), command=True),
        zmtp.frame(b"\x05READY", command=True),
        zmtp.frame(b"\x08INITIATE" + bytes(300), command=True),
        zmtp.frame(b"", command=True),
        b"\x06" + (1 << 62).to_bytes(8, "big"),
        b"\x00" * 300,
        bytes(range(256)) * 4,
    ]:
        before = sum(refusals(broker, reason) for reason in ("encryption", "ready"))
        peer = zmtp.dial(broker.clients)
        peer.sendall(greeting(b"CURVE") + sent)
        broker.until("it is refused",
                     lambda: sum(refusals(broker, reason) for reason in ("encryption", "ready")) > before)
        peer.close()
    # Boxes that can't be opened, after a real handshake: a flipped bit on the way.
    before = refusals(broker, "encryption")
    flip = Flip(broker.clients)
    with Curved(flip.address, public, pair) as client:
        client.say("SEND", {"queue": "q"}, b"x" * 100)
        broker.until("it is refused", lambda: refusals(broker, "encryption") > before)
    assert broker.admin("GET", "/v1/queues") == []


class Flip(Tap):
    """A tap that flips a bit of the first message after the handshake."""

    def run(self):
        import socket
        import threading
        here, _ = self.listener.accept()
        there = socket.create_connection(self.there)

        def back():
            try:
                while part := there.recv(65536):
                    here.sendall(part)
            except OSError:
                here.close()

        threading.Thread(target=back, daemon=True).start()
        try:
            while part := here.recv(65536):
                self.said += part
                at = self.said.find(b"\x07MESSAGE")
                if at >= 0 and len(part) > 40:
                    part = part[:-5] + bytes([part[-5] ^ 1]) + part[-4:]
                there.sendall(part)
        except OSError:
            pass


def test_plain_carries_a_token(curved):
    broker, _, _, secrets = curved

    def ask(name, password):
        context = zmq.Context()
        peer = context.socket(zmq.DEALER)
        peer.linger = 0
        peer.plain_username, peer.plain_password = name.encode(), password.encode()
        peer.connect(broker.clients)
        peer.send_multipart([b"MUB1", b"SEND", b'{"queue": "q"}', b"{}"])
        return context, peer

    context, peer = ask("send", secrets["send"])
    assert peer.poll(PATIENCE * 1000) and peer.recv_multipart()[1] == b"ACCEPTED"
    context.destroy()
    for name, password in [("work", secrets["send"]), ("send", "mub_wrong"), ("x" * 255, "y" * 255)]:
        before = refusals(broker, "token")
        context, peer = ask(name, password)
        broker.until("it is refused", lambda: refusals(broker, "token") > before)
        context.destroy()
    context, peer = ask("work", secrets["work"])
    assert peer.poll(PATIENCE * 1000) and peer.recv_multipart()[1] == b"REJECTED", "a worker doesn't send"
    context.destroy()


def test_a_key_that_others_can_read_is_not_used(tmp_path):
    file = tmp_path / "broker.key"
    keygen("--out", str(file))
    (tmp_path / "mubroker.toml").write_text(
        f'data_dir = "{tmp_path}/data"\n[listen]\nclients = "tcp://127.0.0.1:0"\nworkers = "tcp://127.0.0.1:0"\n'
        f'curve_key_file = "{file}"\n')

    def start():
        done = subprocess.run([BINARY, "serve", "--config", str(tmp_path / "mubroker.toml")], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE)
        return done.returncode, done.stderr

    file.chmod(0o644)
    code, said = start()
    assert code == 1 and "can be read by others" in said
    file.chmod(0o600)
    file.write_text("not a key")
    code, said = start()
    assert code == 1 and "this is no key" in said and "not a key" not in said
    again = subprocess.run([BINARY, "curve", "keygen", "--out", str(file)], capture_output=True, timeout=PATIENCE)
    assert again.returncode == 1, "a file that is there is left alone"
