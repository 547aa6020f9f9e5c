"""A full disk, on a real small ext4: publishing is refused as `full`, what waits is worked off, nothing accepted
is lost, and all goes on by itself once there is space."""

import threading

import pytest
import zmq

from disk import MIB, Disk
from mub1 import PATIENCE, Broker, Client, WorkerThread

#: Sent before their answers came.
WINDOW = 16


def body(n):
    return b"%d:" % n + bytes([n % 251]) * (48 * 1024 + n % 4096)


@pytest.fixture
def disk():
    with Disk(256) as disk:
        yield disk


@pytest.fixture
def broker(disk, tmp_path):
    """A broker whose data folder is the small disk; configuration and output are elsewhere."""
    # What is worked off and not remembered any more gives its room back.
    broker = Broker(tmp_path, '[queues."*"]\ndedup = { by = "count", last = 100 }\n')
    broker.config.write_text(broker.config.read_text().replace(str(broker.data), str(disk.path)))
    broker.data = disk.path
    yield broker
    if broker.process is not None and broker.process.poll() is None:
        broker.kill()
    # A panic of sled's may be the end of a store, but never of the broker.
    assert "the broker broke down" not in broker.tail(), broker.tail()


@pytest.fixture
def publishing(broker):
    """Makes publishers of the broker that is running then."""
    made = []

    def make(**options):
        made.append(Publisher(broker, **options))
        return made[-1]

    yield make
    for publisher in made:
        publisher.client.close()


class Publisher:
    """Sends numbered messages; `accepted` has those that the broker took, in order."""

    def __init__(self, broker, queue="q", first=0):
        self.client = Client(broker, zmq.DEALER)
        self.queue = queue
        self.next = first
        self.accepted = []
        self.refused = []

    def send(self, n):
        self.client.say("SEND", {"queue": self.queue, "id": f"m{n}"}, body(n))

    def until_refused(self, most):
        """Sends new messages until as many as the window were refused in a row."""
        under_way, in_a_row = 0, 0
        while in_a_row < WINDOW and self.next < most:
            while under_way < WINDOW:
                self.send(self.next)
                self.next, under_way = self.next + 1, under_way + 1
            in_a_row = 0 if self.hear() else in_a_row + 1
            under_way -= 1
        for _ in range(under_way):
            self.hear()
        assert in_a_row >= WINDOW, f"{len(self.accepted)} messages were accepted, none refused"

    def hear(self):
        verb, answer, _ = self.client.hear()
        if verb == "ACCEPTED":
            self.accepted.append((answer["seq"], int(answer["id"][1:])))
            return True
        assert verb == "REJECTED" and answer["code"] == "full", (verb, answer)
        assert answer["retry_after_ms"] > 0 and "disk" in answer["reason"], answer
        self.refused.append(answer)
        return False

    def one_accepted(self):
        """Sends one message, again and again with its id, until it is accepted."""
        n, self.next = self.next, self.next + 1

        def sent():
            self.send(n)
            return self.hear()

        return n, sent


def worked_off(broker, queue, accepted, seconds=3 * PATIENCE):
    """A worker gets what was accepted, in order, byte for byte, and it is done. What was refused may be there
    too (a write that failed may have reached the disk), but once and in its place."""
    with WorkerThread(broker, queue, again=True) as worker:
        last = accepted[-1][1]
        seen_last = lambda seen: any(header["id"] == f"m{last}" for header, _ in seen)
        worker.wait_for(f"message {last}", seen_last, seconds)
        broker.until("all is done", lambda: broker.queue(queue)["depth"] == 0, seconds)
    check(worker.seen, accepted)


def check(seen, accepted):
    """`seen` has every accepted message in order; one may come again after the store was opened again."""
    first = {}
    for header, payload in seen:
        n = int(header["id"][1:])
        assert payload == body(n), f"message {n} is not as it was sent"
        assert first.setdefault(header["seq"], n) == n, "two messages at one place"
    places = list(first)
    assert places == sorted(places), "out of order"
    numbers = {n: seq for seq, n in first.items()}
    assert len(numbers) == len(first), "a message twice"
    for seq, n in accepted:
        assert numbers.get(n) == seq, f"message {n} was accepted at {seq}, is at {numbers.get(n)}"


def store_state(broker):
    try:
        return broker.admin("GET", "/v1/overview")["store"]["state"]
    except AssertionError as error:
        # What was asked just when the store broke is answered so.
        assert "the store broke down meanwhile; ask again" in str(error)
        return "broke"


def test_a_disk_filled_by_publishing_is_worked_off_and_takes_messages_again(broker, disk, publishing):
    broker.start()
    publisher = publishing()
    publisher.until_refused(most=6_000)
    assert len(publisher.accepted) > 500
    assert disk.free() > 8 * MIB, "room is left for acks"
    assert store_state(broker) == "full"
    said = broker.cli("send", "--queue", "q", "one more", code=6)
    assert "disk" in said and "MiB" in said, said

    # Repairs and pauses are still done, and a duplicate is still told.
    broker.cli("queue", "pause", "q", "--reason", "a look")
    broker.cli("message", "edit", "q", "2", "--file", "-", "--reason", "shorter", stdin=body(1))
    broker.cli("queue", "resume", "q")
    with Client(broker) as client:
        _, last = publisher.accepted[-1]
        assert client.send("q", body(last), id=f"m{last}")["duplicate"]

    # What is worked off gives its room back.
    worked_off(broker, "q", publisher.accepted)
    n, sent = publisher.one_accepted()
    broker.until("publishing goes on", sent)
    broker.until("the store says so", lambda: store_state(broker) == "ok")
    worked_off(broker, "q", [publisher.accepted[-1]])
    assert broker.stop() == 0


def test_somebody_else_fills_the_disk_and_acks_go_on_and_so_does_all_later(broker, disk, publishing):
    broker.start()
    publisher = publishing()
    for _ in range(400):
        n, sent = publisher.one_accepted()
        broker.until(f"message {n} is accepted", sent)
    ballast = disk.path / "store/ballast"
    assert ballast.stat().st_blocks * 512 >= 8 * MIB

    elses = disk.fill()
    broker.until("the broker notices", lambda: store_state(broker) == "full")
    broker.until("the ballast is given up", lambda: not ballast.exists())
    publisher.until_refused(most=800)
    worked_off(broker, "q", publisher.accepted[:400])

    elses.unlink()
    _, sent = publisher.one_accepted()
    broker.until("publishing goes on", sent)
    broker.until("the ballast is back", ballast.exists)
    worked_off(broker, "q", publisher.accepted[-1:])
    assert broker.stop() == 0


def test_upkeep_leaves_the_last_bytes_to_acks_and_is_made_up_for_later(broker, disk, publishing):
    """Parts of which next to nothing is needed could be compacted: that writes before it gives back."""
    parts = lambda: len(list(disk.path.glob("store/gen-*")))
    broker.start()
    publisher, stuck = publishing(), publishing(queue="stuck", first=10_000)
    for n in range(2_000):
        _, sent = (stuck if n % 100 == 0 else publisher).one_accepted()
        broker.until(f"message {n} is accepted", sent)
    ballast = disk.path / "store/ballast"
    broker.until("there are some parts", lambda: parts() > 3)
    before = parts()

    # Below the watermark (32 MiB), and less above the mark of the ballast than a pass of compaction needs.
    elses = disk.fill(leave=14 * MIB)
    broker.until("the broker notices", lambda: store_state(broker) == "full")
    worked_off(broker, "q", publisher.accepted)
    assert ballast.exists() and disk.free() > 8 * MIB, f"{disk.free() >> 20} MiB are free"
    assert store_state(broker) == "full" and parts() >= before - 1

    elses.unlink()
    broker.until("nearly all parts are given back", lambda: parts() <= 3)
    _, sent = publisher.one_accepted()
    broker.until("publishing goes on", sent)
    worked_off(broker, "stuck", stuck.accepted)
    assert broker.stop() == 0


def test_a_disk_filled_under_load_again_and_again_loses_nothing(broker, disk, publishing):
    """The last byte is taken while batches are on their way: writes really fail, the store is opened again."""
    broker.start()
    over = threading.Event()
    publisher = publishing()

    def publish():
        while not over.is_set():
            publisher.send(publisher.next)
            publisher.next += 1
            verb, answer, _ = publisher.client.hear()
            if verb == "ACCEPTED":
                publisher.accepted.append((answer["seq"], int(answer["id"][1:])))
            else:
                assert answer["code"] in ("full", "store_unavailable"), answer
                over.wait(0.02)

    thread = threading.Thread(target=publish, daemon=True)
    with WorkerThread(broker, "q", again=True) as worker:
        thread.start()
        for _ in range(4):
            some = len(publisher.accepted) + 100
            broker.until("it publishes", lambda: len(publisher.accepted) >= some)
            elses = disk.fill()
            broker.until("the broker notices", lambda: store_state(broker) != "ok")
            elses.unlink()
            broker.until("it goes on", lambda: store_state(broker) == "ok")
        over.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        broker.until("all is done", lambda: broker.queue("q")["depth"] == 0)
    check(worker.seen, publisher.accepted)
    assert broker.stop() == 0


def test_a_broker_starts_on_a_full_disk_and_works_off_what_is_there(broker, disk, publishing):
    broker.start()
    publisher = publishing()
    for _ in range(100):
        broker.until("a message is accepted", publisher.one_accepted()[1])
    broker.kill()
    elses = disk.fill()
    broker.start()
    broker.until("the broker notices", lambda: store_state(broker) == "full")
    accepted = publisher.accepted
    publisher = publishing(first=1_000)
    publisher.until_refused(most=2_000)
    worked_off(broker, "q", accepted)
    elses.unlink()
    broker.until("publishing goes on", publisher.one_accepted()[1])
    assert broker.stop() == 0


def test_a_disk_that_is_nearly_full_is_told_while_publishing_still_goes_on(broker, disk):
    # Of a disk of 256 MiB a quarter is wanted free, and publishing is refused below an eighth.
    broker.config.write_text(broker.config.read_text() + "[alerts]\ndedup_ms = 1000\n")
    broker.start()
    disk.fill(leave=48 * MIB)
    # The first line says that the events before were missed.
    arguments = ["events", "--json", "--after", "1-0", "--type", "alert", "--limit", "2"]
    told = broker.cli(*arguments)
    assert '"rule":"disk-low"' in told and "MiB are free on its disk, less than" in told, told
    assert store_state(broker) == "ok"
    with Client(broker) as client:
        client.send("q", b"still accepted")
