"""ZMTP 3 by hand, for what no library would send."""

import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)


def dial(address, seconds=60):
    """A TCP connection to `tcp://host:port`."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=seconds)


def frame(body, more=False, command=False):
    flags = (1 if more else 0) | (4 if command else 0)
    if len(body) > 255:
        return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body
    return bytes([flags, len(body)]) + body


def message(*frames):
    return b"".join(frame(f, more=n + 1 < len(frames)) for n, f in enumerate(frames))


def ready(kind=b"DEALER", **properties):
    fields = {b"Socket-Type": kind, **{k.encode(): v for k, v in properties.items()}}
    text = b"".join(
        bytes([len(k)]) + k + struct.pack(">I", len(v)) + v for k, v in fields.items()
    )
    return frame(b"\x05READY" + text, command=True)


def read_exactly(connection, count):
    got = b""
    while len(got) < count:
        more = connection.recv(count - len(got))
        if not more:
            raise EOFError(f"closed after {len(got)} of {count} bytes")
        got += more
    return got


def read_frame(connection):
    flags = read_exactly(connection, 1)[0]
    length = (
        struct.unpack(">Q", read_exactly(connection, 8))[0]
        if flags & 2
        else read_exactly(connection, 1)[0]
    )
    return flags, read_exactly(connection, length)


def handshake(address, kind=b"DEALER", **properties):
    """A connection after greeting and READY of both sides."""
    connection = dial(address)
    connection.sendall(GREETING)
    assert read_exactly(connection, 64)[:1] == b"\xff"
    connection.sendall(ready(kind, **properties))
    flags, body = read_frame(connection)
    assert flags & 4 and body.startswith(b"\x05READY"), body
    return connection


def closed(connection, seconds=60):
    """Whether the other side closes within so long; what it sends before is read and dropped."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True
