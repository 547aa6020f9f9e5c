"""Many clients and workers at once, in several processes: no error, and little memory for each.

`tests/soak crowd` runs it with 10,000 clients and 1,000 workers.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

from mub1 import PATIENCE, Client

CLIENTS = int(os.environ.get("MUBROKER_CROWD_CLIENTS", 1_000))
WORKERS = int(os.environ.get("MUBROKER_CROWD_WORKERS", 100))
PROCESSES = 4
#: What the broker may take in all; 11,000 peers fit. And how much more for each peer, beside what the first ones cost.
BYTES = 300_000_000
BYTES_A_PEER, BYTES_FIRST = 22_000, 10_000_000


@contextlib.contextmanager
def crowd(role, address, count, name):
    """A process of `crowd.py`; it is given its words with `heard`."""
    script = str(pathlib.Path(__file__).with_name("crowd.py"))
    process = subprocess.Popen(
        [sys.executable, script, role, address, str(count), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def heard(process):
    line = process.stdout.readline()
    assert line, f"a process ended with {process.wait(PATIENCE)}"
    return json.loads(line)


def test_a_crowd_of_clients_and_workers_is_served_without_an_error(make_broker):
    broker = make_broker("").start()
    empty = broker.rss_bytes()
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(crowd("workers", broker.workers, WORKERS, "w"))
        assert heard(workers) == {"workers": WORKERS}
        counted = lambda: len(broker.admin("GET", "/v1/workers")) == WORKERS
        broker.until("all workers are there", counted)
        share = CLIENTS // PROCESSES
        all_clients = [
            stack.enter_context(crowd("clients", broker.clients, share, f"c{number}"))
            for number in range(PROCESSES)
        ]
        for process in all_clients:
            assert heard(process) == {"clients": share, "unanswered": 0, "errors": []}
        grown = broker.rss_bytes() - empty
        assert broker.door("clients")["connections"] == PROCESSES * share
        waits = lambda: sum(row["depth"] for row in broker.admin("GET", "/v1/queues"))
        broker.until("all is done", lambda: waits() == 0)
        said, _ = workers.communicate(timeout=PATIENCE)
        end = json.loads(said)
        # A process that stood still for long is told so, and what it had comes again.
        assert {verb for verb, _ in end["others"]} <= {"PAUSE", "RESUME", "STALE"}
        sent = {f"c{number}-{at}" for number in range(PROCESSES) for at in range(share)}
        assert set(end["done"]) == sent
    print(f"{grown / (CLIENTS + WORKERS):.0f} bytes a peer, {(empty + grown) / 1e6:.0f} MB in all")
    assert grown < BYTES_FIRST + BYTES_A_PEER * (CLIENTS + WORKERS), grown
    assert empty + grown < BYTES


def test_connections_beyond_the_bound_are_refused_and_the_log_says_it_once(make_broker):
    broker = make_broker("").start()
    broker.stop()
    broker.config.write_text(broker.config.read_text().replace("[listen]\n", "[listen]\nconnections = 2\n"))
    broker.start()
    with Client(broker) as first, Client(broker) as second:
        first.send("q", b"1")
        second.send("q", b"2")
        with Client(broker) as third:
            third.say("PING")
            broker.until("it was refused often", lambda: broker.door("clients")["cut_off"] > 3)
            assert third.silent(0.1)
            second.close()
            assert third.hear()[0] == "PONG"
        first.send("q", b"3")
    assert broker.log.read_text().count("connections are refused") == 1


def test_connections_never_take_the_last_open_files(make_broker):
    """The store, the admin API and the log need some, whatever clients do."""
    files = 1_100
    broker = make_broker("", wrap=["prlimit", f"--nofile={files}:{files}"]).start()
    # An eighth of what there is stays for other doors, another for other addresses.
    room = (files - 512) * 3 // 4
    with crowd("clients", broker.clients, room + 100, "c"):
        broker.until("some were refused", lambda: broker.door("clients")["cut_off"] > 100)
        assert broker.door("clients")["connections"] <= room + 1
        assert broker.queue("crowd.0")["depth"] > 0
    with Client(broker) as client:
        client.send("q", b"after")
    assert "Too many open files" not in broker.tail()
