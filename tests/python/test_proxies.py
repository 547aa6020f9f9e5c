"""`[[proxy]]`: plain devices with libzmq's sockets at both ends."""

import contextlib
import threading

import pytest
import zmq

from mub1 import PATIENCE, plain

CONFIG = "".join(
    f"""
[[proxy]]
name = "{name}"
kind = "{kind}"
frontend = "tcp://127.0.0.1:0"
backend = "tcp://127.0.0.1:0"
capture = "tcp://127.0.0.1:0"
"""
    for name, kind in (("prices", "forwarder"), ("jobs", "queue"), ("stream", "streamer"))
)


def end(broker, name):
    return broker.door(f"proxy {name}")


@contextlib.contextmanager
def at(broker, kind, name, **options):
    """A socket of a kind, connected to a proxy's end."""
    before = end(broker, name)["connections"]
    with plain(kind, end(broker, name)["endpoint"], **options) as ours:
        broker.until(f"a peer is at {name}", lambda: end(broker, name)["connections"] > before)
        yield ours


@pytest.fixture
def proxies(make_broker):
    return make_broker(CONFIG).start()


def test_a_forwarder_tells_each_subscriber_what_it_wants(proxies):
    with at(proxies, zmq.SUB, "prices backend") as gold, at(proxies, zmq.SUB, "prices backend") as all, at(
        proxies, zmq.SUB, "prices capture"
    ) as captured, at(proxies, zmq.PUB, "prices frontend") as pub:
        gold.subscribe(b"gold")
        all.subscribe(b"")
        captured.subscribe(b"prices.in")

        def arrives():
            pub.send_multipart([b"first", b""])
            return all.poll(50)

        proxies.until("subscriptions have come", arrives)
        for n in range(100):
            pub.send_multipart([b"gold" if n % 2 else b"oil", b"%d" % n])
        assert [gold.recv_multipart() for _ in range(50)] == [[b"gold", b"%d" % n] for n in range(1, 100, 2)]
        heard = []
        while not heard or heard[-1] != [b"oil", b"98"]:
            heard.append(all.recv_multipart())
        assert [frames for frames in heard if frames[0] != b"first"] == [
            [b"gold" if n % 2 else b"oil", b"%d" % n] for n in range(99)]
        told = captured.recv_multipart()
        assert told[0] == b"prices.in" and len(told) == 3


def test_a_shared_queue_brings_each_answer_to_who_asked(proxies):
    over = threading.Event()

    def serve(word):
        with at(proxies, zmq.REP, "jobs backend", rcvtimeo=50) as server:
            ready.release()
            while not over.is_set():
                with contextlib.suppress(zmq.Again):
                    server.send_multipart([word, *server.recv_multipart()])

    ready = threading.Semaphore(0)
    servers = [threading.Thread(target=serve, args=(word,)) for word in (b"one", b"two")]
    with at(proxies, zmq.SUB, "jobs capture") as captured:
        captured.subscribe(b"jobs.out")
        for server in servers:
            server.start()
        try:
            for _ in servers:
                assert ready.acquire(timeout=PATIENCE)
            with at(proxies, zmq.REQ, "jobs frontend") as anna, at(proxies, zmq.REQ, "jobs frontend") as bert:
                by = set()
                for n in range(50):
                    for who, client in ((b"anna", anna), (b"bert", bert)):
                        client.send_multipart([who, b"%d" % n])
                    for who, client in ((b"anna", anna), (b"bert", bert)):
                        word, *rest = client.recv_multipart()
                        assert rest == [who, b"%d" % n]
                        by.add(word)
                assert by == {b"one", b"two"}, "work is shared"
            assert captured.recv_multipart()[0] == b"jobs.out"
        finally:
            over.set()
            for server in servers:
                server.join(PATIENCE)


def test_who_asks_waits_until_a_server_is_there_and_what_it_said_is_not_lost(proxies):
    with at(proxies, zmq.REQ, "jobs frontend") as client:
        client.send(b"early")
        assert not client.poll(100)
        with at(proxies, zmq.REP, "jobs backend") as server:
            assert server.recv() == b"early"
            server.send(b"late")
        assert client.recv() == b"late"
    with at(proxies, zmq.DEALER, "jobs backend") as stranger:
        stranger.send_multipart([b"nobody", b"", b"x"])
        stranger.send_multipart([b"\0" * 8, b"", b"x"])
        proxies.until("both are lost", lambda: end(proxies, "jobs frontend")["lost"] == 2)


def test_a_streamer_shares_work_out_and_holds_back_who_pushes(proxies):
    payload = bytes(100_000)
    with at(proxies, zmq.PUSH, "stream frontend", sndhwm=1, sndtimeo=200) as push:
        sent = 0
        with contextlib.suppress(zmq.Again):
            while sent < 5_000:
                push.send_multipart([b"%d" % sent, payload])
                sent += 1
        assert 0 < sent < 5_000, "nobody pulls: it must wait"
        assert proxies.rss_bytes() < 300 * 1024 * 1024
        with at(proxies, zmq.PULL, "stream backend") as pull:
            assert [pull.recv_multipart()[0] for _ in range(sent)] == [b"%d" % n for n in range(sent)]
            with at(proxies, zmq.PULL, "stream backend") as other:
                for n in range(20):
                    push.send_multipart([b"%d" % n, b""])
                got = sorted(int(half.recv_multipart()[0]) for half in (pull, other) for _ in range(10))
                assert got == list(range(20))
    assert end(proxies, "stream backend")["lost"] == 0


def test_two_proxies_of_one_name_are_refused(make_broker):
    broker = make_broker(CONFIG + CONFIG)
    said = broker.cli("config", "check", "--config", str(broker.config), code=4)
    assert 'there are two proxies "prices"' in said


def test_a_proxy_at_an_address_in_use_says_which(make_broker, proxies):
    taken = end(proxies, "prices frontend")["endpoint"]
    config = f'[[proxy]]\nname = "p"\nkind = "streamer"\nfrontend = "{taken}"\nbackend = "tcp://127.0.0.1:0"\n'
    broker = make_broker(config)
    said = broker.cli("serve", "--config", str(broker.config), code=1)
    assert f"proxy.p.frontend: {taken} is in use by another program" in said
