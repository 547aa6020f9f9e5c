"""`redis` queues from outside: a real Redis, other programs that add to its streams, and all that may go wrong."""

import os
import random
import signal
import time

import pytest
import zmq

from mub1 import PATIENCE, Client, Worker, WorkerThread
from redis_server import Redis, certificates

ROUNDS = min(int(os.environ.get("MUBROKER_ROUNDS", "50")), 50) // 5


@pytest.fixture
def make_redis(tmp_path_factory):
    made = []

    def make(**options):
        redis = Redis(tmp_path_factory.mktemp("r"), **options)
        made.append(redis)
        return redis.start()

    yield make
    for redis in made:
        redis.stop()


@pytest.fixture
def redis(make_redis):
    return make_redis()


def config(redis, more="", queue=""):
    return (
        f'[redis]\nurl = "{redis.url}"\n{more}\n'
        f'[queues."r"]\nmailbox = "redis"\n{queue}\n[queues."*"]\nmailbox = "file"\n'
    )


def reachable(broker, queue="r"):
    probe = lambda: not broker.queue(queue).get("unreachable")
    broker.until("Redis is reached", probe)


def send_until_accepted(client, queue, payload, **header):
    end = time.monotonic() + PATIENCE
    while True:
        verb, answer, _ = client.ask("SEND", {"queue": queue, **header}, payload)
        if verb == "ACCEPTED":
            return answer
        assert answer["code"] == "store_unavailable" and answer["retry_after_ms"] > 0, answer
        assert time.monotonic() < end, answer
        time.sleep(0.05)


def test_own_and_others_messages_are_delivered_in_one_order_and_removed(make_broker, redis):
    broker = make_broker(config(redis)).start()
    with Client(broker) as client:
        send_until_accepted(client, "r", b'{"own": 1.10}', id="own-1")
        redis.cli("-x", "XADD", "mubroker:r", "*", "header", '{"id":"x1","type":"t"}', "payload",
                  stdin=b'{"z":1,"a":12345678901234567890123}')
        broker.until("it is taken in", lambda: broker.queue("r")["depth"] == 2)
        redis.cli("XADD", "mubroker:r", "*", "country", "FR", "total", "7")
        broker.until("it is taken in", lambda: broker.queue("r")["depth"] == 3)
        # The same id again is a duplicate, from wherever it comes.
        redis.cli("XADD", "mubroker:r", "*", "header", '{"id":"own-1"}', "payload", "again")
        broker.until("it is told apart", lambda: broker.queue("r")["duplicates"] == 1)
        assert client.send("r", b"x", id="x1")["duplicate"] is True
    broker.until("the duplicate's entry is removed", lambda: redis.length("r") == 3)
    with WorkerThread(broker, "r") as worker:
        worker.wait_for("all", lambda seen: len(seen) == 3)
    assert [payload for _, payload in worker.seen] == [
        b'{"own": 1.10}', b'{"z":1,"a":12345678901234567890123}', b'{"country":"FR","total":"7"}',
    ]
    assert worker.seen[1][0]["type"] == "t"
    broker.until("the stream is empty", lambda: redis.length("r") == 0)


def test_what_others_add_wrongly_blocks_visibly_and_can_be_repaired(make_broker, redis):
    broker = make_broker(config(redis)).start()
    with Client(broker) as client:
        send_until_accepted(client, "r", b"first")
    redis.cli("XADD", "mubroker:r", "*", "header", "{oops", "payload", "kept")
    with WorkerThread(broker, "r") as worker:
        view = broker.blocked("r")
        assert view["head"]["error"]["code"] == "malformed"
        shown = broker.admin("GET", "/v1/queues/r/messages/2")
        assert shown["header"]["headers"]["refused"] == "{oops" and "kept" in str(shown["payload"])
        broker.cli("message", "edit", "r", "2", "--file", "-", "--retry", "--yes", stdin=b'{"mended":1}')
        worker.wait_for("the mended one", lambda seen: len(seen) == 2)
    assert worker.seen[1][1] == b'{"mended":1}'


def test_a_queue_moved_out_of_redis_needs_it_for_what_is_still_there_and_says_so(make_broker, redis):
    broker = make_broker(config(redis)).start()
    with Client(broker) as client:
        for n in range(3):
            send_until_accepted(client, "r", b"%d" % n, id=f"m{n}")
        broker.cli("queue", "pause", "r", "--reason", "it moves")
        broker.cli("queue", "set", "r", "mailbox=file")
        broker.cli("queue", "resume", "r")
        assert redis.cli("XLEN", "mubroker:r") == ["3"], "payloads stay where they are"
        redis.kill()
        client.send("r", b"3", id="m3")
        # Without a Redis in the configuration it is the same.
        assert broker.stop() == 0
    text = broker.config.read_text()
    broker.config.write_text(text[: text.index("[redis]")] + '[queues."*"]\n')
    broker.start()
    with Client(broker) as client, Worker(broker, "r") as worker:
        client.send("r", b"4", id="m4")
        broker.until("it says what it waits for", lambda: broker.queue("r").get("unreachable"))
        assert "waits        Redis can't be reached: no [redis] url is configured" in broker.cli("queue", "show", "r")
        assert worker.silent(0.5), "nothing overtakes what is in Redis"
    assert broker.stop() == 0
    redis.start()
    broker.config.write_text(text)
    broker.start()
    with Worker(broker, "r") as worker:
        for n in range(5):
            header, payload = worker.take()
            assert (header["seq"], header["id"], payload) == (n + 1, f"m{n}", b"%d" % n)
            worker.ack(header)
        broker.until("what is done leaves Redis", lambda: redis.cli("XLEN", "mubroker:r") == ["0"])
    assert broker.queue("r").get("unreachable") is None


def test_a_redis_that_goes_away_is_refused_for_its_queues_only_and_comes_back(make_broker, redis):
    broker = make_broker(config(redis)).start()
    with Client(broker) as client:
        for n in range(20):
            send_until_accepted(client, "r", b"%d" % n, id=f"m{n}")
        for how in ("killed", "stopped"):
            redis.kill() if how == "killed" else redis.signal(signal.SIGSTOP)
            # Found out by the broker itself, without anybody sending.
            broker.until("it is noticed", lambda: broker.queue("r").get("unreachable"))
            slowest = 0
            for n in range(100):
                begin = time.monotonic()
                client.send("other", b"x")
                slowest = max(slowest, time.monotonic() - begin)
            assert slowest < 1, f"another queue waited {slowest:.2f} s while Redis was {how}"
            refused = client.refused("SEND", {"queue": "r", "id": "no"}, b"no")
            assert refused["code"] == "store_unavailable" and refused["retry_after_ms"] > 0
            redis.start() if how == "killed" else redis.signal(signal.SIGCONT)
            reachable(broker)
            send_until_accepted(client, "r", how.encode(), id=how)
    with WorkerThread(broker, "r") as worker:
        worker.wait_for("all", lambda seen: len(seen) == 22)
    assert [payload for _, payload in worker.seen] == [b"%d" % n for n in range(20)] + [b"killed", b"stopped"]
    broker.until("the stream is empty", lambda: redis.length("r") == 0)


def test_deliveries_go_on_by_themselves_after_redis_was_away(make_broker, redis):
    broker = make_broker(config(redis)).start()
    with Client(broker) as client:
        for n in range(5):
            send_until_accepted(client, "r", b"%d" % n)
    redis.kill()
    with WorkerThread(broker, "r") as worker:
        broker.until("it is noticed", lambda: broker.queue("r").get("unreachable"))
        assert worker.seen == []
        redis.start()
        worker.wait_for("all", lambda seen: len(seen) == 5)


def test_messages_whose_entries_redis_has_lost_are_blocked_and_can_be_repaired(make_broker, redis):
    broker = make_broker(config(redis)).start()
    with Client(broker) as client:
        send_until_accepted(client, "r", b"one", id="m1")
        send_until_accepted(client, "r", b"two", id="m2")
        redis.lose_everything()
        broker.until("Redis is reached", lambda: not broker.queue("r").get("unreachable"))
        send_until_accepted(client, "r", b"three", id="m3")
    with WorkerThread(broker, "r") as worker:
        assert broker.blocked("r")["head"]["error"]["code"] == "lost"
        broker.cli("message", "edit", "r", "1", "--file", "-", "--retry", "--yes", stdin=b'{"mended":1}')
        broker.cli("message", "cancel", "r", "2", "--reason", "gone")
        worker.wait_for("what is left", lambda seen: len(seen) == 2)
    assert [payload for _, payload in worker.seen] == [b'{"mended":1}', b"three"]


def test_tls_and_a_password(make_broker, make_redis, tmp_path):
    redis = make_redis(password="a secret", tls=certificates(tmp_path))
    (tmp_path / "password").write_text("a secret\n")
    more = f'ca_file = "{tmp_path}/ca.pem"\npassword_file = "{tmp_path}/password"'
    broker = make_broker(config(redis, more)).start()
    with Client(broker) as client, WorkerThread(broker, "r") as worker:
        send_until_accepted(client, "r", b"x" * 3_000_000)
        redis.cli("XADD", "mubroker:r", "*", "payload", "from outside")
        worker.wait_for("both", lambda seen: len(seen) == 2)
    assert "a secret" not in broker.tail()
    # Without the authority's certificate nobody is trusted, and that is said.
    distrustful = make_broker(config(redis, f'password_file = "{tmp_path}/password"')).start()
    with Client(distrustful) as client:
        verb, answer, _ = client.ask("SEND", {"queue": "r"}, b"x")
        told = lambda: (v := distrustful.queue("r")).get("unreachable") if verb == "ACCEPTED" else answer["reason"]
        assert "certificate" in distrustful.until("it is told", told)


def test_kill_9_of_the_broker_loses_and_doubles_nothing(make_broker, redis):
    """Producers send and another program adds while the broker is killed again and again; the window that
    tells duplicates is off, so that nothing but the broker's own care keeps a message from coming twice."""
    dice = random.Random(7)
    broker = make_broker(config(redis, queue='dedup = "off"')).start()
    accepted, sent, added = {}, 0, 0
    for _ in range(ROUNDS):
        with Client(broker, zmq.DEALER) as client:
            reachable(broker)
            under_way, goal = 0, len(accepted) + dice.randrange(20, 200)
            while len(accepted) < goal:
                while under_way < 32:
                    sent += 1
                    under_way += 1
                    client.say("SEND", {"queue": "r", "id": f"m{sent}"}, b"%d" % sent)
                    if sent % 50 == 0:
                        added += 1
                        redis.cli("XADD", "mubroker:r", "*", "header", f'{{"id":"x{added}"}}', "payload", "x")
                verb, answer, _ = client.hear()
                under_way -= 1
                if verb == "ACCEPTED":
                    accepted[answer["id"]] = answer["seq"]
            broker.kill()
        broker.start()
    broker.until("Redis can be read", lambda: is_readable(broker))
    broker.until("the rest is taken in", lambda: count(broker, "x") == added)
    rows = listed(broker)
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids)), "a message twice"
    places = {row["id"]: row["seq"] for row in rows}
    assert {id: places.get(id) for id in accepted} == accepted
    own = [int(id[1:]) for id in ids if id in accepted]
    assert own == sorted(own)
    assert [int(id[1:]) for id in ids if id[0] == "x"] == list(range(1, added + 1))
    with WorkerThread(broker, "r", credit=1) as worker:
        worker.wait_for("all", lambda seen: len(seen) == len(ids))
    for row, (header, payload) in zip(rows, worker.seen):
        assert header["seq"] == row["seq"] and header["id"] == row["id"]
        assert payload == (b"x" if row["id"][0] == "x" else row["id"][1:].encode())
    broker.until("the stream is empty", lambda: redis.length("r") == 0)


def listed(broker):
    rows, start = [], 0
    while start is not None:
        page = broker.admin("GET", f"/v1/queues/r/messages?from={start}&limit=500")
        rows += page["messages"]
        start = page.get("next")
    return rows


def is_readable(broker):
    """Just after a start nothing says yet whether Redis is there, but a read does."""
    try:
        listed(broker)
    except AssertionError as error:
        assert "not connected yet" in str(error), error
        return False
    return True


def count(broker, letter):
    return sum(row["id"][0] == letter for row in listed(broker))
