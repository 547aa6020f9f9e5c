"""What hostile peers do to any port, one act at a time: bytes that mean nothing, protocols spoken wrongly, limits tried,
connections held, reset and crowded. All of it from addresses of its own (127.0.0.2 and on), so that what the broker
holds against an address is not held against honest peers.
"""

import contextlib
import json
import random
import socket
import struct

import zmtp

#: A connection that is left open waits among these until it is the oldest of so many.
HELD = 40
#: No act reads or waits for longer, in seconds.
SECONDS = 5
#: What an honest client and worker would say: the stuff that mutations are made of.
SAYINGS = [
    (b"MUB1", b"HELLO", b'{"token":"mub_nobody_0000","client":"x"}'),
    (b"MUB1", b"PING", b"{}"),
    (b"MUB1", b"SEND", b'{"queue":"hostile.none","id":"x","ttl_ms":1}', b'{"a":1}'),
    (b"MUB1", b"SENDMANY", b'{"messages":[{"queue":"hostile.none"}]}', b"x"),
    (b"MUB1", b"CALL", b'{"queue":"hostile.none","timeout_ms":1}', b"x"),
    (b"MUB1", b"STATUS", b'{"id":"x"}'),
    (b"MUB1", b"PUBLISH", b'{"topic":"hostile.none"}', b"x"),
    (b"MUB1", b"READY", b'{"queues":["hostile.none"],"credit":3}'),
    (b"MUB1", b"ACK", b'{"delivery":"1-1"}', b""),
    (b"MUB1", b"NACK", b'{"delivery":"1-1","error":{"code":"x","message":"y"},"action":"retry"}'),
    (b"MUB1", b"PROGRESS", b'{"delivery":"1-1","extend_ms":1}'),
    (b"MUB1", b"HEARTBEAT"),
    (b"MUB1", b"BYE"),
    (b"", b"MDPC01", b"hostile.none", b"x"),
    (b"", b"MDPW01", b"\x01", b"hostile.none"),
    (b"", b"MDPC02", b"\x01", b"hostile.none", b"x"),
    (b"", b"MDPW02", b"\x06"),
]
KINDS = [b"DEALER", b"REQ", b"ROUTER", b"PUSH", b"PULL", b"SUB", b"PUB", b"XSUB", b"PAIR", b"NONE"]
PATHS = ["/v1/overview", "/v1/queues", "/v1/queues/x", "/v1/queues/x/messages?limit=9&from=0", "/v1/messages/x",
         "/v1/events", "/v1/stream", "/v1/journal?limit=1000000", "/v1/tokens", "/metrics", "/livez", "/readyz",
         "/v1/queues/%00/pause", "/v1/queues/x/messages/1/repair", "/../../etc/passwd", "/" + "a" * 9000]


class Hostile:
    """One hostile peer with its own dice. `targets`: the ZMTP ports and the HTTP ports, as tcp://host:port."""

    def __init__(self, seed, zmtp_ports, http_ports):
        self.dice = random.Random(seed)
        self.zmtp_ports, self.http_ports = zmtp_ports, http_ports
        self.address = f"127.0.0.{2 + seed % 250}"
        self.held = []
        self.acts = [self.noise, self.half_a_handshake, self.noise_after_the_handshake, self.mutated, self.huge,
                     self.endless, self.hold, self.reset, self.deaf, self.curve, self.http_noise, self.http_request]

    def act(self):
        """One act, chosen by the dice; its name."""
        act = self.dice.choice(self.acts)
        # That it is cut off is what it is here for; a full backlog is the machine's.
        with contextlib.suppress(OSError, EOFError):
            act()
        return act.__name__

    def leave(self):
        while self.held:
            self.held.pop().close()

    def dial(self, ports):
        host, port = self.dice.choice(ports).removeprefix("tcp://").rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=SECONDS, source_address=(self.address, 0))

    @contextlib.contextmanager
    def shaken(self):
        with contextlib.closing(self.dial(self.zmtp_ports)) as peer:
            self.shake(peer, self.dice.choice(KINDS[:5]))
            yield peer

    @staticmethod
    def shake(peer, kind):
        """Greeting and READY of both sides; what the other's READY says, or that it is none, is all the same."""
        peer.sendall(zmtp.GREETING)
        zmtp.read_exactly(peer, len(zmtp.GREETING))
        peer.sendall(zmtp.ready(kind))
        zmtp.read_frame(peer)

    def read_some(self, peer):
        peer.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            peer.recv(65536)

    def bytes(self, most):
        return self.dice.randbytes(self.dice.randint(1, most))

    def noise(self):
        with contextlib.closing(self.dial(self.zmtp_ports + self.http_ports)) as peer:
            peer.sendall(self.bytes(8192))
            self.read_some(peer)

    def half_a_handshake(self):
        whole = zmtp.GREETING + zmtp.ready(self.dice.choice(KINDS), Identity=self.bytes(300))
        with contextlib.closing(self.dial(self.zmtp_ports)) as peer:
            peer.sendall(whole[: self.dice.randint(0, len(whole))])
            self.read_some(peer)

    def noise_after_the_handshake(self):
        with self.shaken() as peer:
            peer.sendall(self.bytes(4096))
            self.read_some(peer)

    def mutated(self):
        """Messages nearly as they should be: bits turned, frames left out, doubled, swapped, grown."""
        with self.shaken() as peer:
            for _ in range(self.dice.randint(1, 20)):
                frames = [bytearray(frame) for frame in self.dice.choice(SAYINGS)]
                for _ in range(self.dice.randint(0, 3)):
                    self.mutate(frames)
                peer.sendall(zmtp.message(*frames) if frames else b"\0\0")
            self.read_some(peer)

    def mutate(self, frames):
        if not frames:
            return
        at = self.dice.randrange(len(frames))
        kind = self.dice.randrange(6)
        if kind == 0 and frames[at]:
            frames[at][self.dice.randrange(len(frames[at]))] ^= 1 << self.dice.randrange(8)
        elif kind == 1:
            frames.pop(at)
        elif kind == 2:
            frames.insert(at, bytearray(frames[at]))
        elif kind == 3:
            frames[at], frames[0] = frames[0], frames[at]
        elif kind == 4:
            frames[at] += self.bytes(3000)
        else:
            frames[at] = bytearray(b'{"a":' * self.dice.randint(1, 5000))

    def huge(self):
        with self.shaken() as peer:
            length = self.dice.choice([2**64 - 1, 2**63, 2**40, 2**31, 64 * 1024 * 1024])
            peer.sendall(bytes([self.dice.choice([2, 3, 6])]) + struct.pack(">Q", length) + self.bytes(5000))
            self.read_some(peer)

    def endless(self):
        with self.shaken() as peer:
            part = zmtp.frame(self.bytes(self.dice.choice([1, 100, 50_000])), more=True)
            for _ in range(self.dice.randint(1, 400)):
                peer.sendall(part)

    def hold(self):
        """A connection that says little or nothing, and stays."""
        peer = self.dial(self.zmtp_ports + self.http_ports)
        self.held.append(peer)
        peer.sendall((zmtp.GREETING + zmtp.ready())[: self.dice.randint(0, 90)])
        if len(self.held) > HELD:
            self.held.pop(0).close()

    def reset(self):
        with contextlib.closing(self.dial(self.zmtp_ports + self.http_ports)) as peer:
            peer.sendall(zmtp.GREETING[: self.dice.randint(0, 64)])
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def deaf(self):
        """Asks for much and reads nothing of it, then stays."""
        peer = self.dial(self.zmtp_ports)
        self.held.append(peer)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.shake(peer, b"DEALER")
        peer.settimeout(0.2)
        many = zmtp.message(b"MUB1", b"PING", b"{}") * 100 + zmtp.message(b"MUB1", b"STATUS", b'{"id":"x"}') * 100
        for _ in range(self.dice.randint(1, 50)):
            peer.sendall(many)

    def curve(self):
        """Another mechanism: a HELLO of the right length, which nobody can open, and what is no HELLO at all."""
        mechanism = self.dice.choice([b"CURVE", b"PLAIN", b"GSSAPI", bytes(5)])
        greeting = zmtp.GREETING[:12] + mechanism + bytes(20 - len(mechanism)) + zmtp.GREETING[32:]
        with contextlib.closing(self.dial(self.zmtp_ports)) as peer:
            peer.sendall(greeting)
            hello = b"\x05HELLO\x01\x00" + bytes(72) + self.dice.randbytes(120)
            said = hello if self.dice.random() < 0.5 else b"\x05HELLO" + self.bytes(600)
            peer.sendall(zmtp.frame(said, command=True))
            self.read_some(peer)
            peer.sendall(zmtp.frame(b"\x08INITIATE" + self.bytes(400), command=True))
            self.read_some(peer)

    def http_noise(self):
        method = self.dice.choice(["GET", "POST", "PUT", "BREW", ""])
        lines = [f"{method} {self.dice.choice(PATHS)} HTTP/1.{self.dice.randint(0, 9)}", "host: x"]
        lines += [f"x-{n}: {'y' * self.dice.randint(0, 900)}" for n in range(self.dice.randint(0, 120))]
        lines += self.dice.sample(["content-length: 99999999999", "content-length: -1", "transfer-encoding: chunked",
                                   "upgrade: h2c", "expect: 100-continue", "connection: keep-alive"], 2)
        with contextlib.closing(self.dial(self.http_ports)) as peer:
            peer.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + self.bytes(2000))
            self.read_some(peer)

    def http_request(self):
        """In good form, but nobody's."""
        body = json.dumps({"action": "retry", "revision": self.dice.randint(-1, 5), "key": "k" * self.dice.randint(0, 300)})
        method, path = self.dice.choice(["GET", "POST", "DELETE"]), self.dice.choice(PATHS)
        head = (f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer mub_{self.dice.randint(0, 10**9)}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n")
        with contextlib.closing(self.dial(self.http_ports)) as peer:
            peer.sendall((head + body).encode())
            self.read_some(peer)
