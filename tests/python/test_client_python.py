"""The Python library in assets/clients/python, against the real broker."""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import types

import pytest
import zmq

from mub1 import PATIENCE, REPOSITORY, stay

LIBRARY = REPOSITORY / "assets/clients/python"
sys.path.insert(0, str(LIBRARY))

import mubroker  # noqa: E402
from mubroker import aio, wire  # noqa: E402


@pytest.fixture
def client(broker):
    with mubroker.Client(broker.clients, timeout=PATIENCE) as client:
        yield client


class Running:
    """A worker in a thread; `until` waits for what it has been given."""

    def __init__(self, broker, queues, handler, **options):
        self.given, self.changed = [], threading.Condition()
        self.handler = handler
        self.worker = mubroker.Worker(queues, self._handle, address=broker.workers, **options)
        self.thread = threading.Thread(target=self.worker.run, daemon=True)
        self.thread.start()

    def _handle(self, message):
        with self.changed:
            self.given.append(message)
            self.changed.notify_all()
        return self.handler(message)

    def until(self, test):
        with self.changed:
            assert self.changed.wait_for(lambda: test(self.given), PATIENCE), len(self.given)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.worker.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def test_a_trace_goes_along(broker, client):
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "rojo=1"}
    with Running(broker, ["q"], lambda message: {name: message.header[name] for name in trace}):
        assert client.call("q", b"1", **trace).json() == trace


def test_what_send_returned_for_survives_kill_9(make_broker):
    broker = make_broker().start()
    with mubroker.Client(broker.clients) as client:
        accepted = client.send("q", {"price": "1.10"}, key="a", id="one")
        assert accepted == mubroker.Accepted("one", "q", 1, False)
        assert client.send("q", b"again", id="one").duplicate
        assert [one.seq for one in client.send_many([{"queue": "q", "payload": "b"}, {"queue": "q"}])] == [2, 3]
    broker.kill()
    broker.start()
    with mubroker.Client(broker.clients) as client:
        status = client.status("one")
        assert (status.state, status.queue, status.seq) == ("ready", "q", 1)
        client.ping()
        assert client.hello()["limits"]["max_sendmany"] > 0


def test_what_is_under_way_while_the_broker_is_killed_is_there_once(make_broker):
    broker = stay(make_broker().start())
    count = 3000
    with mubroker.Client(broker.clients, timeout=PATIENCE) as client:
        with client.window(200) as window:
            for n in range(count):
                window.send("q", str(n), id=f"m{n}")
                if n == count // 2:
                    broker.kill()
                    broker.start()
        assert broker.queue("q")["depth"] == count
        with Running(broker, "q", lambda message: None, credit=50) as running:
            running.until(lambda given: len(given) >= count)
        assert [message.payload for message in running.given] == [b"%d" % n for n in range(count)]


def test_a_worker_comes_back_after_the_broker_and_does_what_it_held(make_broker):
    broker = stay(make_broker().start())
    killed = threading.Event()
    with mubroker.Client(broker.clients, timeout=PATIENCE) as client:
        client.send("q", "a")
        with Running(broker, "q", lambda message: killed.wait(PATIENCE)) as running:
            running.until(lambda given: len(given) == 1)
            broker.kill()
            broker.start()
            killed.set()
            running.until(lambda given: len(given) == 2)
            broker.until("it is done", lambda: broker.queue("q")["depth"] == 0)
    assert running.given[0].delivery != running.given[1].delivery


def test_alerts_wait_for_a_connection_the_newest_few():
    duty, said = wire.Duty("q", 1, "w", None), []
    message = types.SimpleNamespace(is_forgotten=True)
    for n in range(20):
        duty.pass_on(message, wire.pack("ALERT", {"n": n}), lambda _: False)
    duty.pass_on(message, wire.pack("PROGRESS", {}), lambda _: False)
    duty.tick(0.0, lambda frames: said.append(json.loads(frames[2])["n"]) or True)
    assert said == list(range(20 - wire.MAX_ALERTS, 20))


def test_an_alert_without_a_broker_is_raised_when_it_is_back(make_broker):
    broker = stay(make_broker().start())

    async def run():
        begun, given = asyncio.Event(), []

        async def work(message):
            given.append(message)
            if len(given) > 1:
                return
            begun.set()
            while worker._link.is_connected:
                await asyncio.sleep(0.01)
            message.alert("odd", "nobody listens")

        worker = aio.Worker("q", work, address=broker.workers)
        async with aio.Client(broker.clients, timeout=PATIENCE) as client:
            running = asyncio.ensure_future(worker.run())
            await client.send("q", "a")
            await begun.wait()
            await asyncio.to_thread(lambda: (broker.kill(), broker.start()))
            arguments = ["events", "--json", "--after", "1-0", "--type", "worker-alert", "--limit", "2"]
            told = await asyncio.to_thread(broker.cli, *arguments)
            worker.stop()
            await running
        assert "nobody listens" in told

    asyncio.run(run())


def test_calls_have_replies_parts_and_typed_ends(broker, client):
    def work(message):
        if message.payload == b"bad":
            raise ValueError("no such thing")
        if message.payload == b"dead":
            raise mubroker.Reject("never", code="hopeless", action="dead-letter")
        message.progress("half done")
        message.part("half")
        return {"double": message.json() * 2}

    with Running(broker, ["q", "dead"], work) as running:
        parts = []
        assert client.call("q", 21, on_part=parts.append).json() == {"double": 42}
        assert parts == [b"half"]
        with pytest.raises(mubroker.CallFailed) as failed:
            client.call("dead", "dead")
        assert (failed.value.status, failed.value.error["code"]) == ("failed", "rejected")
        assert failed.value.error["detail"] == "hopeless: never"
        with pytest.raises(mubroker.CallFailed) as failed:
            client.call("q", "bad")
        assert failed.value.status == "blocked"
        assert failed.value.error["code"] == "ValueError"
        assert "no such thing" in failed.value.error["detail"]
        with pytest.raises(mubroker.CallFailed) as failed:
            client.call("q", 1, timeout=0.1)
        assert failed.value.status in ("timeout", "blocked")
    assert running.given[0].header["queue"] == "q"
    assert client.send("dead.dead", b"").seq == 2


def test_refusals_are_types_and_silence_is_no_answer(make_broker):
    config = '[queues.small]\nmax_messages = 1\n[queues."any.*"]\n'
    broker = make_broker(config).start()
    with mubroker.Client(broker.clients) as client:
        client.send("small", "a")
        with pytest.raises(mubroker.Full) as refused:
            client.send("small", "b", id="b")
        assert (refused.value.code, refused.value.id) == ("full", "b")
        assert refused.value.retry_after > 0
        with pytest.raises(mubroker.NoSuchQueue, match="there is no queue else"):
            client.send("else", "a")
        with pytest.raises(mubroker.Malformed, match="queue"):
            client.send("not a name", "a")
        with pytest.raises(mubroker.Full):
            with client.window() as window:
                for n in range(3):
                    window.send("small", "c")
        with pytest.raises(mubroker.NoSuchQueue):
            client.send_many([{"queue": "any.a", "id": "1"}, {"queue": "else", "id": "2"}])
        client.ping()
        broker.kill()
        client.timeout = 0.2
        with pytest.raises(mubroker.NoAnswer) as unanswered:
            client.send("any.a", "a", id="x")
        assert unanswered.value.id == "x"
    with pytest.raises(mubroker.Closed):
        client.ping()


def test_events_and_gathers(broker, client):
    client.subscribe("order.created", "billing", filter="body.total > 10")
    assert client.publish("order.created", {"total": 11}).queues == 1
    assert client.publish("order.created", {"total": 9}).queues == 0
    client.unsubscribe("order.created", "billing")
    assert client.publish("order.created", {"total": 11}).queues == 0
    with Running(broker, ["a", "b"], lambda message: {message.queue: 1}, credit=2):
        everybody = client.gather({}, recipients=["a", "b"])
        assert (everybody.status, everybody.parts) == ("complete", {"a": b'{"a": 1}', "b": b'{"b": 1}'})
        some = client.gather({}, recipients=["a", "b", "c"], timeout=0.3)
        assert (some.status, [one["queue"] for one in some.missing]) == ("partial", ["c"])
        merged = client.gather({}, recipients=["a", "b"], aggregate="object")
        assert merged.merged == b'{"a":1,"b":1}'
        one = client.gather({}, recipients=["a"], aggregate="object")
        assert (one.merged, list(one.parts)) == (b'{"a":1}', ["a"])
        assert client.gather({}, recipients=["a"]).parts == {"a": b'{"a": 1}'}
        accepted = client.gather({}, recipients=["a", "b"], reply_to="answers", id="g")
        assert accepted == mubroker.GatherAccepted("g", 2, False)
        broker.until("it is answered", lambda: client.send("answers", "b").seq > 1)


def test_a_lease_lasts_as_long_as_its_handler(make_broker):
    broker = make_broker("[queues.q]\nlease_ms = 1000\n").start()
    with mubroker.Client(broker.clients) as client:
        client.send("q", "a")
        # Longer than two leases; nothing tells of their end but their time.
        slow = threading.Event()
        with Running(broker, "q", lambda message: slow.wait(2.5)) as running:
            broker.until("it is done", lambda: broker.queue("q")["depth"] == 0)
        assert len(running.given) == 1


def test_a_handler_over_its_time_gives_its_place_back(make_broker):
    broker = make_broker("[queues.q]\nlease_ms = 1000\n[queues.other]\n").start()
    with mubroker.Client(broker.clients, timeout=PATIENCE) as client:
        client.send("q", "a", max_execution_ms=500, max_attempts=1)
        client.send("other", "b")

        def work(message):
            if message.payload == b"a":
                broker.until("it is over time", lambda: message.is_stale)

        with Running(broker, ["q", "other"], work) as running:
            running.until(lambda given: [one.payload for one in given] == [b"a", b"b"])
            broker.until("it goes on", lambda: broker.queue("other")["depth"] == 0)
            assert [one.is_stale for one in running.given] == [True, False]


class Odd(BaseException):
    def __str__(self):
        raise RuntimeError("no text either")


ODD = {
    "exit": SystemExit,
    "cancelled": asyncio.CancelledError,
    "surrogate": lambda: ValueError("\udc80" * 5000),
    "no text": Odd,
    "bytes": lambda: mubroker.Reject("never", detail=b"\xff", action="block"),
    "no action": lambda: mubroker.Reject("never", action="forget"),
    "long": lambda: mubroker.Reject("é" * 100_000, delay=0.0015, action="block"),
}
#: A queue for each, since it is blocked by it, and a last one.
ODD_QUEUES = [f"q{n}" for n in range(len(ODD))] + ["good"]


def raise_odd(message):
    if message.payload.decode() in ODD:
        raise ODD[message.payload.decode()]()
    message.progress("é" * 2000, extend=0.5004)
    message.alert("slow", "é" * 2000)
    return "fine"


def test_whatever_a_handler_raises_is_a_failed_attempt(broker, client):
    with Running(broker, ODD_QUEUES, raise_odd):
        for queue, odd in zip(ODD_QUEUES, ODD):
            with pytest.raises(mubroker.CallFailed) as failed:
                client.call(queue, odd, timeout=PATIENCE)
            assert (failed.value.status, bool(failed.value.error["code"])) == ("blocked", True), odd
            assert client.call("good", "good", timeout=PATIENCE).payload == b"fine"


def test_a_refusal_later_than_ready_is_told_and_the_worker_goes_on(broker, client, caplog):
    def work(message):
        message.part(bytes(wire.MAX_PAYLOAD + 1))
        return "fine"

    with Running(broker, "q", work):
        assert client.call("q", 1, timeout=PATIENCE).payload == b"fine"
        assert client.call("q", 2, timeout=PATIENCE).payload == b"fine"
    assert [one.name for one in caplog.records if one.levelno == logging.WARNING][:1] == ["mubroker"]


def test_a_refused_ready_ends_the_worker(broker):
    with pytest.raises(mubroker.Malformed):
        mubroker.Worker("not a name", print, address=broker.workers).run()
    with pytest.raises(mubroker.Malformed):
        asyncio.run(aio.Worker("not a name", print, address=broker.workers).run())


class Ended(list):
    """What has become of requests, without a broker."""

    def __init__(self, *requests):
        self.pending = wire.Pending()
        for request in requests:
            request.done = lambda result, error, request=request: self.append((request, result, error))
            self.pending.add(request)

    def refuse(self, **header):
        self.pending.take(wire.pack("REJECTED", {"code": "full", "reason": "no", **header}))
        return [request for request, _, _ in self]


def test_a_refusal_is_for_who_has_its_id():
    first, second = (wire.send_many([{"queue": "q", "id": f"{name}{n}"} for n in range(3)]) for name in "ab")
    send, ping = wire.send("q", b"", "c", {}), wire.ping()
    ended = Ended(send, first, second, ping)
    assert ended.refuse(id="gone") == []
    assert ended.refuse(id="b2") == [second]
    assert ended.refuse() == [second, ping]
    assert ended.refuse() == [second, ping, first]
    assert ended.refuse() == [second, ping, first, send]
    assert len(ended.pending) == 0 and not ended.pending._ids
    ended = Ended(wire.send("q", b"", "a", {}), wire.send("q", b"", "b", {}))
    assert ended.refuse() == []


def test_what_a_window_leaves_is_given_up(make_broker):
    broker = make_broker("[queues.small]\nmax_messages = 1\n").start()
    with mubroker.Client(broker.clients, timeout=PATIENCE) as client:
        with pytest.raises(mubroker.Full):
            with client.window() as window:
                for n in range(100):
                    window.send("small", "c")
        assert len(client._pending) == 0
        with pytest.raises(KeyError):
            with client.window() as window:
                window.send("q", "a")
                raise KeyError("the caller's own")
        assert len(client._pending) == 0
        client.ping()


def test_what_is_under_way_is_not_looked_through_at_each_send():
    class Counted(wire.Pending):
        walks = 0

        def __iter__(self):
            self.walks += 1
            return super().__iter__()

    # Nobody is there: what is sent stays under way.
    with mubroker.Client("tcp://127.0.0.1:1") as client:
        client._pending = Counted()
        with pytest.raises(KeyError):
            with client.window() as window:
                for n in range(100):
                    window.send("q", "a")
                raise KeyError("enough")
        assert client._pending.walks < 10 and len(client._pending) == 0


def test_a_client_is_for_one_at_a_time_and_what_on_part_raises_ends_its_call(broker, client):
    def work(message):
        message.part("half")
        return "whole"

    with Running(broker, "q", work):
        with pytest.raises(RuntimeError, match="one thread at a time"):
            client.call("q", 1, on_part=lambda part: client.ping(), timeout=PATIENCE)
        with pytest.raises(ZeroDivisionError):
            client.call("q", 1, on_part=lambda part: 1 / 0, timeout=PATIENCE)
        assert client.call("q", 1, timeout=PATIENCE).payload == b"whole"

        async def main():
            async with aio.Client(broker.clients, timeout=PATIENCE) as other:
                with pytest.raises(ZeroDivisionError):
                    await other.call("q", 1, on_part=lambda part: 1 / 0, timeout=PATIENCE)
                assert (await other.call("q", 1, timeout=PATIENCE)).payload == b"whole"

        asyncio.run(main())
    with client.window() as window, client._alone():
        for use in (client.ping, client.close, window.wait, lambda: window.send("q", "a")):
            with pytest.raises(RuntimeError):
                use()
        assert len(client._pending) == 0


def test_an_asyncio_client_passes_over_what_it_cant_read_and_ends_all_when_it_is_deaf():
    async def main():
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            port = router.bind_to_random_port("tcp://127.0.0.1")
            async with aio.Client(f"tcp://127.0.0.1:{port}", timeout=PATIENCE) as client:
                asked = asyncio.ensure_future(client.ping())
                who, *_ = await asyncio.to_thread(router.recv_multipart)
                for odd in ([b"HTTP"], [b"MUB1", b"PONG", b"{"], [b"MUB1", b"ACCEPTED", b'{"accepted": 1}'], [b"MUB1", b"\xff", b"[]"]):
                    router.send_multipart([who, *odd])
                router.send_multipart([who, b"MUB1", b"PONG"])
                await asked
                asked = asyncio.ensure_future(client.send("q", "a"))
                await asyncio.to_thread(router.recv_multipart)
                client._ear_ended(deaf())
                with pytest.raises(mubroker.Closed, match="deaf"):
                    await asked
                with pytest.raises(mubroker.Closed, match="deaf"):
                    await client.ping()

    def deaf():
        ear = asyncio.get_running_loop().create_future()
        ear.set_exception(OSError("deaf"))
        return ear

    asyncio.run(main())


def test_a_closed_asyncio_client_fails_those_too_that_wait_for_their_turn():
    async def main():
        client = aio.Client("tcp://127.0.0.1:1", timeout=PATIENCE, window=2)
        async with client:
            asked = [asyncio.ensure_future(client.ping()) for _ in range(10)]
            await asyncio.sleep(0)
        ended = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
        assert {type(one) for one in ended} == {mubroker.Closed}
        assert not client._link.is_connected and len(client._pending) == 0

    asyncio.run(main())


def test_an_asyncio_worker_goes_on_after_odd_handlers_and_ends_them_when_it_is_cancelled(broker):
    async def main():
        last = []
        begun = asyncio.Event()

        async def handle(message):
            if message.payload == b"last":
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    last.append("ended")
            return raise_odd(message)

        running = asyncio.ensure_future(aio.Worker(ODD_QUEUES, handle, address=broker.workers).run())
        async with aio.Client(broker.clients, timeout=PATIENCE) as client:
            for queue, odd in zip(ODD_QUEUES, ODD):
                with pytest.raises(mubroker.CallFailed) as failed:
                    await client.call(queue, odd, timeout=PATIENCE)
                assert (failed.value.status, bool(failed.value.error["code"])) == ("blocked", True), odd
                assert (await client.call("good", "good", timeout=PATIENCE)).payload == b"fine"
            await client.send("good", "last", id="last")
            await begun.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert last == ["ended"]

            async def lost():
                while not (status := await client.status("last")).error:
                    pass
                return status.error["code"]

            # Nothing was said of it: it is no failed attempt, but a worker that went away.
            assert await asyncio.wait_for(lost(), PATIENCE) == "worker-lost"

    asyncio.run(main())


def test_a_worker_leaves_no_sockets_behind(broker):
    worker = mubroker.Worker("q", print, address=broker.workers)
    worker.stop()
    worker.run()
    assert worker._bell.fileno() == worker._rung.fileno() == -1
    worker.stop()


WORKER = """
import sys, mubroker
def handle(message):
    print("begun", flush=True)
    sys.stdin.readline()
    return "done"
mubroker.Worker("q", handle, address=sys.argv[1]).run()
print("left", flush=True)
"""


def test_sigterm_lets_what_runs_end(broker, client):
    client.send("q", "a")
    client.send("q", "b")
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, broker.workers],
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout.readline() == "begun\n"
    worker.send_signal(signal.SIGTERM)
    broker.until("it leaves", lambda: broker.queue("q")["workers"] == 0)
    worker.stdin.write("go on\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "left\n"
    assert worker.wait(PATIENCE) == 0
    worker.stdin.close()
    worker.stdout.close()
    queue = broker.queue("q")
    assert (queue["depth"], queue["workers"]) == (1, 0)


def test_one_asyncio_client_serves_many_tasks_over_a_restart(make_broker):
    broker = stay(make_broker().start())

    async def main():
        async with aio.Client(broker.clients, timeout=PATIENCE, window=100) as client:
            sent = [asyncio.ensure_future(client.send("q", n, id=f"m{n}")) for n in range(1000)]
            await sent[300]
            await asyncio.to_thread(lambda: (broker.kill(), broker.start()))
            assert {one.seq for one in await asyncio.gather(*sent)} == set(range(1, 1001))
            with pytest.raises(mubroker.Malformed):
                await client.send("not a name", "a")
            running = asyncio.ensure_future(client.call("nobody", 1))
            await client.ping()
        with pytest.raises(mubroker.Closed):
            await running

    asyncio.run(main())


def test_an_asyncio_worker_works_side_by_side_and_comes_back(make_broker):
    broker = stay(make_broker().start())

    async def main():
        given, both = [], asyncio.Event()

        async def handle(message):
            given.append(message)
            if len(given) >= 2:
                both.set()
            # The first waits for the second: they are there at once.
            await both.wait()
            if message.payload == b"bad":
                raise KeyError("bad")
            return message.queue

        worker = aio.Worker(["a", "b"], handle, address=broker.workers, credit=2)
        running = asyncio.ensure_future(worker.run())
        async with aio.Client(broker.clients, timeout=PATIENCE) as client:
            replies = await asyncio.gather(client.call("a", 1, timeout=PATIENCE), client.call("b", 1, timeout=PATIENCE))
            assert [one.payload for one in replies] == [b"a", b"b"]
            await asyncio.to_thread(lambda: (broker.kill(), broker.start()))
            assert (await client.call("a", 2, timeout=PATIENCE)).payload == b"a"
            with pytest.raises(mubroker.CallFailed) as failed:
                await client.call("b", "bad", timeout=PATIENCE)
            assert failed.value.error["code"] == "KeyError"
        worker.stop()
        await asyncio.wait_for(running, PATIENCE)

    asyncio.run(main())


@pytest.mark.parametrize("at", [0, 1])
def test_the_readmes_programs_run(broker, at):
    program = re.findall(r"```python\n(.*?)```", (LIBRARY / "README.md").read_text(), re.S)[at]
    program = program.replace("tcp://127.0.0.1:5555", broker.clients).replace("tcp://127.0.0.1:5556", broker.workers)
    ran = subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert ran.stdout.readline() == ["invoices 1\n", "1000 are durable\n"][at]
    if at == 0:
        broker.until("it is booked", lambda: broker.queue("invoices")["depth"] == 0)
        ran.send_signal(signal.SIGINT)
    assert ran.wait(PATIENCE) == 0
    ran.stdout.close()
