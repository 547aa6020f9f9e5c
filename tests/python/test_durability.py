"""No answer before its commit, as the kernel sees it: write, flush, fdatasync of the store's file, ACCEPTED."""

import re

from mub1 import Client

SENDS = 40
CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
WRITES = {"write", "writev", "pwrite64", "pwritev", "sync_file_range", "ftruncate"}


def events(trace):
    """The trace as ("written" | "synced" | "accepted") in the order in which each ended (a write and an
    answer: began, which is the stricter side)."""
    pending = {}
    for line in trace.splitlines():
        if found := CALL.match(line):
            pid, call, rest = found.groups()
            store = bool(re.match(r"\d+<[^>]*/db>", rest))
            if call in WRITES and store:
                yield "written"
            elif call == "fdatasync" and store:
                yield "sync begins"
                if "<unfinished" in rest:
                    pending[pid] = True
                elif rest.rstrip().endswith("= 0"):
                    yield "synced"
            elif re.match(r"\d+<(TCP|socket)", rest) and "ACCEPTED" in rest:
                yield "accepted"
        elif found := RESUMED.match(line):
            pid, call, rest = found.groups()
            if call == "fdatasync" and pending.pop(pid, False) and rest.rstrip().endswith("= 0"):
                yield "synced"


def test_accepted_follows_an_fdatasync_of_the_stores_file(make_broker):
    broker = make_broker()
    trace = broker.folder / "trace"
    calls = "fdatasync,fsync,sync_file_range,ftruncate,write,writev,pwrite64,pwritev,sendto,sendmsg"
    broker.wrap = ["strace", "-f", "-yy", "-s", "400", "-e", f"trace={calls}", "-o", str(trace)]
    broker.start()
    with Client(broker) as client:
        client.send("q", b"the queue is made")
        before = trace.read_text(errors="replace").count("\n")
        for n in range(SENDS):
            client.send("q", b"x" * 100 * n)
    assert broker.stop(30) == 0
    lines = trace.read_text(errors="replace").splitlines()
    assert any("fsync(" in line and "/db>" not in line for line in lines), "the folder is synced once"

    # For each answer: something was written, then a sync began and ended, all since the last answer.
    step, answers, syncs = 0, 0, 0
    order = ["written", "sync begins", "synced"]
    for event in events("\n".join(lines[before:])):
        syncs += event == "synced"
        if event == "accepted":
            if answers < SENDS:
                assert step == len(order), f"answer {answers + 1} came after {order[:step]} only"
            answers, step = answers + 1, 0
        elif step < len(order) and event == order[step]:
            step += 1
    # The crate's socket and the guard each pass an answer on: seen once or twice.
    assert syncs >= SENDS
    assert not list(broker.data.rglob("blobs/*")), "a value became a blob file, which is not synced"
