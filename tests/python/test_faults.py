"""System calls that fail under the real broker (strace injects the errors): accepting stops, the store is opened
again and recovered, or the process ends with a clear message. Nothing that was confirmed is lost."""

import select
import time

import pytest
import zmq

from mub1 import PATIENCE, Broker, Client, WorkerThread

#: Messages of one round: enough that every count below strikes, also while the store grows.
MESSAGES = 200
WINDOW = 8
#: How long a round may go on without an answer before the broker counts as one that only looks alive.
LOOKS_ALIVE = 60
#: How long all may be refused: the store is opened again after pauses of up to 15 s, each of which may meet the fault
#: again, since strace counts anew in new threads.
NEVER_AGAIN = 180
CALLS = {
    "fdatasync": "fdatasync",
    "fsync": "fsync",
    "sync_file_range": "sync_file_range",
    "pwrite64": "pwrite64",
    "ftruncate": "ftruncate",
    "openat": "openat",
    "rename": "rename,renameat,renameat2",
}
#: strace counts in each thread by itself, and each opening of the store has new ones: the last count strikes again
#: and again, so that a round with it ends after so many seconds.
COUNTS = ("2", "7", "40", "3..9+2")
AGAIN_AND_AGAIN = 12


def body(n):
    return b"%d:" % n + b"%d" % (n % 10) * (n * 2654435761 % 12_000)


def inject(calls, fault):
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"] + [
        "-e",
        f"inject={calls}:{fault}",
    ]


def publish(broker, seconds=None):
    """Sends with a window, refused ones again with their ids, until all are accepted, the broker has ended or the
    time, if there is one, is over. The places of the accepted ones by number."""
    accepted, under_way, again = {}, set(), []
    with Client(broker, zmq.DEALER) as client:
        fresh = iter(range(MESSAGES))
        heard = progress = time.monotonic()
        end = heard + seconds if seconds else float("inf")
        while len(accepted) < MESSAGES and time.monotonic() < end:
            while len(under_way) < WINDOW and (n := again.pop() if again else next(fresh, None)) is not None:
                client.say("SEND", {"queue": f"q{n % 3}", "id": f"m{n}"}, body(n))
                under_way.add(n)
            if client.silent(0.1):
                if broker.process.poll() is not None:
                    break
                assert time.monotonic() - heard < LOOKS_ALIVE, (
                    f"{len(accepted)} were accepted; it looks alive and says nothing\n{broker.tail()}"
                )
                continue
            verb, answer, _ = client.hear()
            heard = time.monotonic()
            # A refusal too says of which message it is: nothing else could tell what to send again.
            n = int(answer["id"][1:])
            under_way.remove(n)
            if verb == "ACCEPTED":
                progress = heard
                accepted[n] = answer["seq"]
                continue
            assert (verb, answer["code"]) in (
                ("REJECTED", "store_unavailable"),
                ("REJECTED", "full"),
            ), answer
            assert heard - progress < NEVER_AGAIN, (
                f"{len(accepted)} were accepted, then none was any more\n{broker.tail()}"
            )
            again.append(n)
            select.select([], [], [], 0.02)
    return accepted


def check(broker, accepted):
    """After a start without faults: everything that was accepted is there, in its place, byte for byte."""
    broker.wrap = []
    broker.start()
    queues = sorted({f"q{n % 3}" for n in accepted})
    if not queues:
        return
    total = sum(broker.queue(queue)["depth"] for queue in queues)
    assert total >= len(accepted), f"{total} are there, {len(accepted)} were accepted"
    with WorkerThread(broker, *queues, credit=3) as worker:
        worker.wait_for(f"{total} messages", lambda seen: len(seen) >= total)
        broker.until("all are done", lambda: sum(broker.queue(q)["depth"] for q in queues) == 0)
    there = {}
    for header, payload in worker.seen:
        n = int(header["id"][1:])
        assert n not in there, f"message {n} is there twice"
        assert payload == body(n), f"message {n} is not as it was sent"
        there[n] = (header["queue"], header["seq"])
    for n, seq in accepted.items():
        assert there.get(n) == (f"q{n % 3}", seq), f"message {n} was accepted at {seq}: {there.get(n)}"
    assert broker.stop() == 0


@pytest.fixture
def make_broker(tmp_path_factory):
    """As everywhere, but sled may panic here: the broker must not."""
    made = []

    def make():
        made.append(Broker(tmp_path_factory.mktemp("b")))
        return made[-1]

    yield make
    for broker in made:
        if broker.process is not None and broker.process.poll() is None:
            broker.kill()


def start(broker):
    """Whether it started; one that meets the fault at its start must say so and end."""
    try:
        broker.start()
        return True
    except AssertionError:
        if broker.process.poll() is None:
            raise
        return False


def ended_clearly(broker):
    """It ended by itself: with a code that says so, and with a message that a person understands."""
    code, said = broker.process.returncode, broker.log.read_text(errors="replace")
    assert code == 1, (code, said)
    assert "mubroker: " in said or "error" in said, said


# Opening takes no space but for a new file: EIO strikes the same code.
FAULTS = [(call, error) for call in CALLS for error in ("EIO", "ENOSPC") if (call, error) != ("openat", "ENOSPC")]


@pytest.mark.parametrize("call, error", FAULTS)
def test_what_was_accepted_survives_a_call_that_fails(make_broker, call, error):
    for count in COUNTS:
        broker = make_broker()
        broker.wrap = inject(CALLS[call], f"error={error}:when={count}")
        accepted = {}
        if start(broker):
            once = count != COUNTS[-1]
            accepted = publish(broker, None if once else AGAIN_AND_AGAIN)
            if broker.process.poll() is None:
                assert len(accepted) == MESSAGES or not once
                broker.kill()
        if broker.process.poll() not in (None, -9):
            ended_clearly(broker)
        check(broker, accepted)


@pytest.mark.parametrize("call, when", [("fdatasync", "30+"), ("pwrite64", "6+")])
def test_a_store_that_never_can_be_written_again_accepts_nothing_and_ends_with_an_error(
    make_broker, call, when
):
    broker = make_broker()
    broker.wrap = inject(call, f"error=EIO:when={when}")
    assert start(broker)
    accepted = {}
    with Client(broker) as client:
        for n in range(MESSAGES):
            verb, answer, _ = client.ask("SEND", {"queue": f"q{n % 3}", "id": f"m{n}"}, body(n))
            if verb == "REJECTED":
                break
            accepted[n] = answer["seq"]
        assert verb == "REJECTED" and answer["code"] == "store_unavailable", answer
        down = lambda: broker.admin("GET", "/v1/overview")["store"]["state"] == "unavailable"
        broker.until("the overview says so", down)
    assert broker.stop() == 1
    ended_clearly(broker)
    check(broker, accepted)


def test_a_flush_that_hangs_ends_the_process_and_loses_nothing(make_broker):
    broker = make_broker()
    # Longer than the broker waits for a commit and for its threads together.
    broker.wrap = inject("fdatasync", "delay_enter=55000000:when=20")
    assert start(broker)
    accepted = {}
    with Client(broker) as client:
        for n in range(MESSAGES):
            client.say("SEND", {"queue": f"q{n % 3}", "id": f"m{n}"}, body(n))
            verb, answer, _ = client.hear(45 + PATIENCE)
            if verb == "REJECTED":
                break
            accepted[n] = answer["seq"]
    assert answer["code"] == "store_unavailable", answer
    # strace itself holds a thread that it delays; the broker's message comes before.
    said = lambda: "the store is lost" in broker.tail()
    broker.until("the broker gives it up", said)
    broker.process.wait(60 + PATIENCE)
    ended_clearly(broker)
    check(broker, accepted)
