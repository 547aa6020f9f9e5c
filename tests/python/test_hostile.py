"""Hostile traffic on all ports for as long as it takes to see whether anything grows, with honest peers at work.

A minute here; `tests/soak hostile` goes on for an hour.
"""

import collections
import contextlib
import os
import pathlib
import re
import subprocess
import threading
import time

import pytest

import tokens
from hostile import Hostile
from mub1 import BINARY, PATIENCE, Client, WorkerThread
from test_hello import hello

SECONDS = int(os.environ.get("MUBROKER_HOSTILE_SECONDS", 60))
SEED = int(os.environ.get("MUBROKER_SEED", time.time()))
PEERS = 6
#: What the broker may hold more at the end than after the first quarter, in bytes: what an allocator keeps.
GROWTH = 24_000_000
DOORS = """push = "tcp://127.0.0.1:0"
live = "tcp://127.0.0.1:0"
feed = "tcp://127.0.0.1:0"
pull = { reports = "tcp://127.0.0.1:0" }
"""


def open_files(broker):
    """Without the store's own: it begins new parts as it grows, and has a few of them open."""
    folder, store = pathlib.Path(f"/proc/{broker.pid}/fd"), str(broker.data / "store")
    held = 0
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            held += not os.readlink(file).startswith(store)
    return held


def threads(broker):
    return len(os.listdir(f"/proc/{broker.pid}/task"))


class Honest(threading.Thread):
    """A producer that sends one message after the other; it notes how long the slowest took."""

    def __init__(self, broker, token):
        super().__init__(daemon=True)
        self.broker, self.token, self.sent, self.failure = broker, token, 0, None
        self.slowest = 0.0
        self.over = threading.Event()

    def run(self):
        try:
            with Client(self.broker) as client:
                if self.token:
                    hello(client, self.token)
                while not self.over.wait(0.02):
                    began = time.monotonic()
                    client.send("honest", b"%d" % self.sent)
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.sent += 1
        except Exception as error:  # told to the test
            self.failure = error

    def end(self):
        self.over.set()
        self.join(PATIENCE)
        if self.failure:
            raise self.failure


def storm(broker, ports, http, seconds, first):
    """Hostile peers side by side for so long; how often each act was done."""
    done, failures = collections.Counter(), []
    end = time.monotonic() + seconds

    def run(number):
        peer = Hostile(SEED + first + number, ports, http)
        try:
            while time.monotonic() < end and broker.process.poll() is None:
                done[peer.act()] += 1
        except Exception as error:  # told to the test
            failures.append(error)
        finally:
            peer.leave()

    peers = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(PEERS)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.join(seconds + PATIENCE)
    assert not failures, failures
    assert broker.process.poll() is None, f"the broker is gone\n{broker.tail()}"
    return done


def settled(broker, files):
    """What it holds once none of them is connected any more."""
    broker.until("hostile connections are gone", lambda: open_files(broker) <= files)
    return broker.own_bytes()


def start(make_broker, tmp_path, guarded):
    """A broker with all its ports, or with those that ask for tokens; the token of honest peers."""
    listen = 'metrics = "tcp://127.0.0.1:0"\nadmin = "tcp://127.0.0.1:0"\n' + ("" if guarded else DOORS)
    rest = "[queues.reports]\n[queues.honest]\n"
    made = [tokens.make("honest", "admin"), tokens.make("other", "viewer")]
    lines = [line for _, line in made]
    if guarded:
        key = tmp_path / "broker.key"
        subprocess.run([BINARY, "curve", "keygen", "--out", str(key)], check=True, capture_output=True, timeout=PATIENCE)
        listen += f'curve_key_file = "{key}"\n'
    auth = "clients = true\nworkers = true" if guarded else ""
    broker = make_broker(tokens.config(lines, listen, auth) + rest).start()
    return broker, made[0][0] if guarded else None


@pytest.mark.timeout(3 * SECONDS + 600)
@pytest.mark.parametrize("guarded", [False, True], ids=["open", "guarded"])
def test_hostile_traffic_on_all_ports_leaves_nothing_behind(make_broker, tmp_path, guarded):
    print(f"MUBROKER_SEED={SEED}")
    broker, token = start(make_broker, tmp_path, guarded)
    ports = [door["endpoint"] for door in broker.admin("GET", "/v1/doors")]
    _, host, port = tokens.address(broker)
    metrics = re.search(r"metrics http://([^/]+)/", broker.log.read_text())[1]
    http = [f"tcp://{host}:{port}", f"tcp://{metrics}"]
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(WorkerThread(broker, "honest", token=token))
        honest = Honest(broker, token)
        honest.start()
        worker.wait_for("the first message", lambda seen: seen)
        files, tasks = open_files(broker) + 2, threads(broker)
        queues = {queue["name"] for queue in broker.admin("GET", "/v1/queues")}
        half = max(SECONDS // 2, 1)
        acts = storm(broker, ports, http, half // 2, 0)
        warm = settled(broker, files)
        acts += storm(broker, ports, http, half - half // 2, 100)
        settled(broker, files)
        honest.end()
        worker.wait_for("all honest messages", lambda seen: len(seen) >= honest.sent)
        # What the store holds of what was written last, tens of MB, goes once it rests.
        broker.until("what they took is given back", lambda: broker.own_bytes() < warm + GROWTH)
        end = broker.own_bytes()
    print(f"{dict(acts)}; {honest.sent} honest messages, the slowest {honest.slowest:.2f} s; "
          f"{warm / 1e6:.0f} MB, then {end / 1e6:.0f} MB")
    assert [payload for _, payload in worker.seen] == [b"%d" % n for n in range(honest.sent)]
    assert threads(broker) <= tasks + 2
    # Nothing of theirs became a queue where they may not make any.
    if guarded:
        assert {queue["name"] for queue in broker.admin("GET", "/v1/queues")} == queues
    log = sum(file.stat().st_size for file in pathlib.Path(broker.data).glob("log/*")) + broker.log.stat().st_size
    assert log < 64 * 1024 * 1024, "the log grows with what they do"
    assert "panicked" not in broker.tail(), broker.tail()
