"""kill -9 under load, many times over one store: what was ACCEPTED is there after, as far as its mailbox says, in order,
nothing invented."""

import os
import random

import zmq

from mub1 import Client, WorkerThread

ROUNDS = int(os.environ.get("MUBROKER_ROUNDS", "50"))
#: The last one is mixed: its first so many messages are in RAM, and gone with the process.
QUEUES = ("a", "b", "c", "mixed")
IN_RAM = 8
CONFIG = f'[queues."*"]\n[queues.mixed]\nmailbox = "mixed"\nmemory_messages = {IN_RAM}\n'
WINDOW = 64
#: Every so many rounds the queues are worked off and the bytes compared.
DRAIN_EVERY = 10


def body(n):
    """The bytes of message n: from nothing to more than the store keeps in one piece."""
    length = 700_000 if n % 997 == 0 else (n * 2654435761) % 3000
    return b"%d:" % n + (b"%d" % (n % 10)) * length


class Ledger:
    """What was sent to each queue, in order, and what was accepted."""

    def __init__(self):
        self.sent = {queue: [] for queue in QUEUES}
        self.accepted = {}
        self.next = 1
        #: Accepted, and gone with the process that had them in RAM.
        self.lost = set()

    def killed(self, before):
        """The broker was killed; `before` waited in the mixed queue when it was started."""
        if before:
            # While anything waits on disk, all that comes does.
            return
        places = {n: self.accepted[n] for n in self.sent["mixed"] if n in self.accepted}
        in_ram = min(places.values(), default=0) + IN_RAM
        self.lost = {n for n, seq in places.items() if seq < in_ram}

    def check(self, queue, rows):
        """`rows` are the (seq, n) that the broker says it has, ascending."""
        numbers = [n for _, n in rows]
        seqs = [seq for seq, _ in rows]
        waiting = [n for n in self.sent[queue]]
        assert seqs == sorted(set(seqs)), f"{queue}: a place twice or out of order"
        order = {n: at for at, n in enumerate(waiting)}
        invented = [n for n in numbers if n not in order]
        assert not invented, f"{queue}: invented {invented[:5]}"
        places = [order[n] for n in numbers]
        assert places == sorted(set(places)), f"{queue}: not in the order of sending"
        there = dict((n, seq) for seq, n in rows)
        for n in waiting:
            if n in self.lost:
                assert n not in there, f"{queue}: message {n} was in RAM, and is there"
            elif n in self.accepted:
                assert there.get(n) == self.accepted[n], (
                    f"{queue}: message {n} was accepted at {self.accepted[n]}, is at {there.get(n)}"
                )
        # What was not answered may be there or not; from now on it is as found.
        self.sent[queue] = numbers
        self.accepted.update(there)


def publish_until(broker, ledger, count, dice):
    """Sends with a window until `count` were accepted, then kills the broker with the rest under way."""
    with Client(broker, zmq.DEALER) as client:
        under_way = accepted = 0
        while accepted < count:
            while under_way < WINDOW:
                n, queue = ledger.next, dice.choice(QUEUES)
                ledger.next += 1
                ledger.sent[queue].append(n)
                client.say("SEND", {"queue": queue, "id": f"m{n}"}, body(n))
                under_way += 1
            verb, answer, _ = client.hear()
            assert verb == "ACCEPTED", answer
            ledger.accepted[int(answer["id"][1:])] = answer["seq"]
            accepted += 1
            under_way -= 1
        broker.kill()


def listed(broker, queue):
    """All rows of a queue by the admin API, page by page."""
    rows, start = [], 0
    while start is not None:
        page = broker.admin("GET", f"/v1/queues/{queue}/messages?from={start}&limit=500")
        rows += [(row["seq"], int(row["id"][1:])) for row in page["messages"]]
        start = page.get("next")
    return rows


def drain(broker, ledger):
    """Works all queues off; ids and bytes must be those that were sent."""
    total = sum(len(numbers) for numbers in ledger.sent.values())
    with WorkerThread(broker, *QUEUES, credit=len(QUEUES)) as worker:
        worker.wait_for(f"{total} messages", lambda seen: len(seen) >= total)
        broker.until(
            "all are done", lambda: sum(broker.queue(queue)["depth"] for queue in QUEUES) == 0
        )
    for queue in QUEUES:
        got = [(header["id"], payload) for header, payload in worker.seen if header["queue"] == queue]
        assert got == [(f"m{n}", body(n)) for n in ledger.sent[queue]]
        ledger.sent[queue] = []


def test_no_accepted_message_is_lost_moved_or_invented_by_kill_9(make_broker):
    dice = random.Random(7)
    broker, ledger = make_broker(CONFIG), Ledger()
    spilled = 0
    for number in range(1, ROUNDS + 1):
        broker.start()
        before = len(ledger.sent["mixed"])
        publish_until(broker, ledger, dice.randint(1, 200), dice)
        ledger.killed(before)
        broker.start()
        for queue in QUEUES:
            if ledger.sent[queue]:
                ledger.check(queue, listed(broker, queue))
        spilled += len(ledger.sent["mixed"])
        if number % DRAIN_EVERY == 0 or number == ROUNDS:
            drain(broker, ledger)
            assert broker.stop() == 0
        else:
            broker.kill()
    assert spilled > ROUNDS and ledger.lost, "both parts of the mixed queue were seen"
    assert not list(broker.data.rglob("blobs/*")), "a value became a blob file, which is not synced"


def test_a_kill_between_delivery_and_ack_gives_the_message_again(make_broker):
    broker = make_broker().start()
    with Client(broker) as client:
        client.send("q", b"work", id="m1")
    first = []

    def work(header, payload):
        if not first:
            first.append(header)
            broker.kill()
        return b""

    with WorkerThread(broker, "q", work=work) as worker:
        worker.wait_for("the first delivery", lambda seen: seen)
    broker.start()
    with WorkerThread(broker, "q") as worker:
        worker.wait_for("the second delivery", lambda seen: seen)
    header, payload = worker.seen[0]
    assert (header["id"], payload) == ("m1", b"work")
    assert header["delivery"] != first[0]["delivery"]
