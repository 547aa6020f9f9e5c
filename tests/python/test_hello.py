"""Tokens at the clients' and the workers' door: HELLO, what each may do there, and until when."""

import os
import subprocess

import zmq

import tokens
from mub1 import BINARY, PATIENCE, Client, Peer, Worker

LISTEN = 'admin = "tcp://127.0.0.1:0"'
NEEDED = "clients = true\nworkers = true"


def make(make_broker, more="", auth=NEEDED, **roles):
    """A broker that asks for tokens; `name=("role", "--queues", …)` makes them."""
    made = {name: tokens.make(name, *role) for name, role in roles.items()}
    lines = [line for _, line in made.values()]
    broker = make_broker(tokens.config(lines, LISTEN, auth) + more).start()
    return broker, {name: token for name, (token, _) in made.items()}


def hello(peer, token, name="test"):
    peer.say("HELLO", {"token": token, "client": name, "version": "1"})
    verb, header, _ = peer.hear()
    return verb, header


class Plain(Peer):
    """A worker's DEALER that has not said READY."""

    def __init__(self, broker):
        super().__init__(zmq.DEALER, broker.workers)


def refusals(broker, reason):
    text = scrape(broker)
    lines = [line for line in text.splitlines()
             if line.startswith("mubroker_connections_refused_total") and f'reason="{reason}"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def scrape(broker):
    from mub1 import AdminConnection
    connection = AdminConnection(broker.data / "admin.sock")
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_without_a_token_nothing_is_done_and_with_one_what_it_is_for(make_broker):
    broker, secrets = make(make_broker, all=("producer",), eu=("producer", "--queues", "eu.*"), eyes=("viewer",),
                           worker=("worker",))
    with Client(broker) as client:
        for verb, header, payload in [
            ("SEND", {"queue": "eu.a"}, [b"{}"]), ("PUBLISH", {"topic": "t"}, [b"{}"]),
            ("STATUS", {"id": "x"}, []), ("SUBSCRIBE", {"topic": "t", "queue": "eu.a"}, []),
        ]:
            refused = client.refused(verb, header, *payload)
            assert (refused["code"], "HELLO" in refused["reason"]) == ("unauthorized", True), refused
        assert client.ask("PING")[0] == "PONG"
        assert client.refused("HELLO", {"client": "x", "version": ""})["code"] == "unauthorized"
        assert client.refused("HELLO", {"token": "mub_" + "A" * 43})["code"] == "unauthorized"
        verb, header = hello(client, secrets["all"])
        assert (verb, "PUBLISH" in header["may"], "SUBSCRIBE" in header["may"]) == ("WELCOME", True, False)
        client.send("us.a", b"{}", id="one")
        assert client.ask("STATUS", {"id": "one"})[0] == "STATUS"
        refused = client.refused("SUBSCRIBE", {"topic": "t", "queue": "us.a"})
        assert (refused["code"], "`settings`" in refused["reason"]) == ("forbidden", True)

        verb, header = hello(client, secrets["eu"])
        assert (verb, header["may"]) == ("WELCOME", ["HELLO", "SEND", "SENDMANY", "CALL", "GATHER", "STATUS", "PING"])
        client.send("eu.a", b"{}", id="two", reply_to="eu.b")
        for verb, header, payload in [
            ("SEND", {"queue": "us.a", "id": "three"}, [b"{}"]),
            ("SEND", {"queue": "eu.a", "id": "three", "reply_to": "us.a"}, [b"{}"]),
            ("CALL", {"queue": "us.a", "id": "three"}, [b"{}"]),
            ("PUBLISH", {"topic": "t", "id": "three"}, [b"{}"]),
            ("START", {"saga": "s", "id": "three"}, [b"{}"]),
            ("GATHER", {"recipients": ["eu.a", "us.a"], "id": "three"}, [b"{}"]),
            ("STATUS", {"id": "one", "queue": "us.a"}, []),
            ("STATUS", {"id": "one"}, []),
        ]:
            refused = client.refused(verb, header, *payload)
            assert refused["code"] == "forbidden", (verb, refused)
            assert refused.get("id") in ("three", "one"), "it names the message"
        client.say_frames(b"MUB1", b"SENDMANY", b'{"queue": "eu.a"}', b"{}", b'{"queue": "us.a"}', b"{}")
        assert client.hear()[0] == "REJECTED"
        for role in ("eyes", "worker"):
            assert hello(client, secrets[role])[0] == "WELCOME"
            assert client.refused("SEND", {"queue": "eu.a"}, b"{}")["code"] == "forbidden"
    assert broker.queue("us.a")["depth"] == 1 and broker.queue("eu.a")["depth"] == 1


def test_a_worker_shows_a_token_before_ready(make_broker):
    broker, secrets = make(make_broker, work=("worker", "--queues", "eu.*"), send=("producer",))
    with Plain(broker) as worker, Client(broker) as client:
        ready = {"queues": ["eu.a"], "worker": {"name": "w"}}
        worker.say("READY", ready)
        verb, header, _ = worker.hear()
        assert (verb, header["code"]) == ("REJECTED", "unauthorized")
        assert hello(worker, secrets["send"])[0] == "WELCOME"
        worker.say("READY", ready)
        assert worker.hear()[1]["code"] == "forbidden"
        assert hello(worker, secrets["work"])[1]["may"][:2] == ["HELLO", "READY"]
        worker.say("READY", {**ready, "queues": ["eu.a", "us.a"]})
        assert worker.hear()[1]["code"] == "forbidden"
        worker.say("READY", ready)
        hello(client, secrets["send"])
        client.send("eu.a", b"work")
        while (heard := worker.hear())[0] == "HEARTBEAT":
            pass
        verb, header, payload = heard
        assert (verb, payload) == ("DELIVER", [b"work"])
        worker.say("ACK", {"delivery": header["delivery"]})
        broker.until("it is done", lambda: broker.queue("eu.a")["done"] == 1)


def test_a_revoked_tokens_connections_end_and_what_they_held_goes_to_others(make_broker):
    broker, secrets = make(make_broker, one=("worker",), two=("worker",), send=("producer",))
    with Plain(broker) as first, Plain(broker) as second, Client(broker) as client:
        hello(client, secrets["send"])
        for worker, name in ((first, "one"), (second, "two")):
            hello(worker, secrets[name])
        first.say("READY", {"queues": ["q"], "worker": {"name": "one"}})
        client.send("q", b"held")
        while first.hear()[0] != "DELIVER":
            pass
        second.say("READY", {"queues": ["q"], "worker": {"name": "two"}})
        broker.cli("token", "revoke", "one")
        while (heard := second.hear())[0] != "DELIVER":
            pass
        assert heard[2] == [b"held"]
        assert [worker["name"] for worker in broker.admin("GET", "/v1/workers")] == ["two"]
        assert refusals(broker, "token") >= 1
        broker.cli("token", "revoke", "send")
        # Its socket connects again by itself, and must say HELLO.
        client.socket.close()
    with Client(broker) as client:
        assert hello(client, secrets["send"])[1]["code"] == "unauthorized"


def test_too_many_wrong_tokens_end_the_connection_and_right_ones_pass(make_broker):
    broker, secrets = make(make_broker, auth="clients = true", send=("producer",))
    with Client(broker, kind=zmq.DEALER) as client:
        for n in range(10):
            assert hello(client, f"mub_{n:043}")[1]["code"] == "unauthorized"
        client.say("HELLO", {"token": "mub_wrong"})
        broker.until("it is cut off", lambda: refusals(broker, "token") >= 1)
    with Client(broker) as client:
        assert hello(client, secrets["send"])[0] == "WELCOME"
    assert broker.tail().count("HELLO too often without a token that counts") >= 1


def test_who_shows_no_token_does_not_stay(make_broker):
    broker, secrets = make(make_broker, auth="clients = true", send=("producer",))
    with Client(broker, kind=zmq.DEALER) as silent, Client(broker) as client:
        hello(client, secrets["send"])
        silent.say("PING")
        assert silent.hear()[0] == "PONG"
        broker.until("it is cut off", lambda: refusals(broker, "token-timeout") >= 1)
        client.send("q", b"{}")


def test_commands_and_supervised_workers_show_their_tokens_and_hand_none_on(make_broker, tmp_path):
    script = tmp_path / "handler"
    script.write_text('#!/bin/sh\nenv > "%s/seen"\n' % tmp_path)
    script.chmod(0o755)
    broker, secrets = make(make_broker, f'[queues."*"]\n[workers.own]\nqueue = "q"\nexec = ["{script}"]\n',
                           all=("producer",), work=("worker",))
    assert "HELLO" in broker.cli("send", "-q", "q", "{}", code=6)
    token = tmp_path / "token"
    token.write_text(secrets["all"] + "\n")
    broker.cli("send", "-q", "q", "{}", "--token-file", str(token))
    broker.until("the supervised worker has done it", lambda: broker.queue("q")["done"] == 1)
    assert "MUBROKER_TOKEN" not in (tmp_path / "seen").read_text()
    assert [token["name"] for token in broker.admin("GET", "/v1/tokens")] == ["all", "work"]

    worker = subprocess.Popen([BINARY, "worker", "--queue", "other", "--data-dir", str(broker.data), "--exec", str(script)],
                              env={**os.environ, "MUBROKER_TOKEN": secrets["work"]}, stdin=subprocess.DEVNULL)
    try:
        (tmp_path / "seen").unlink()
        broker.cli("send", "-q", "other", "{}", "--token-file", str(token))
        broker.until("the worker has done it", lambda: broker.queue("other")["done"] == 1)
        assert "MUBROKER_TOKEN" not in (tmp_path / "seen").read_text()
    finally:
        worker.terminate()
        worker.wait(PATIENCE)


def test_a_door_that_others_reach_asks_for_tokens_by_itself(make_broker, tmp_path):
    made = {role: tokens.make(role, role) for role in ("producer", "worker")}
    lines = [line for _, line in made.values()]

    def start(lines):
        file = tmp_path / "mubroker.toml"
        file.write_text(f'data_dir = "{tmp_path}/data"\n[listen]\nclients = "tcp://0.0.0.0:0"\n'
                        'workers = "tcp://0.0.0.0:0"\n[auth]\ntokens = [' + "\n".join(lines) + "]\n")
        return subprocess.Popen([BINARY, "serve", "--config", str(file)], text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    for lines_, said in [([], "no token with the right `send`"), (lines[:1], "no token with the right `consume`")]:
        process = start(lines_)
        _, error = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said in error, "lets other machines connect" in error) == (4, True, True), error
    process = start(lines)
    try:
        line = process.stdout.readline()
        clients = line.split("clients ")[1].split(",")[0].replace("0.0.0.0", "127.0.0.1")
        with Peer(zmq.REQ, clients) as client:
            client.say("SEND", {"queue": "q"}, b"{}")
            assert client.hear()[1]["code"] == "unauthorized"
            assert hello(client, made["producer"][0])[0] == "WELCOME"
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def test_majordomo_peers_have_no_token_to_show_and_are_refused(make_broker):
    broker, _ = make(make_broker, all=("admin",))
    with Peer(zmq.DEALER, broker.clients) as client:
        client.say_frames(b"", b"MDPC01", b"titanic.close", b"one")
        client.say_frames(b"", b"MDPC01", b"echo", b"hello")
        assert client.silent(0.5) or client.socket.recv_multipart()
    with Peer(zmq.DEALER, broker.workers) as worker:
        worker.say_frames(b"", b"MDPW01", b"\x01", b"echo")
        assert worker.socket.poll(PATIENCE * 1000)
        assert worker.socket.recv_multipart()[2] == b"\x05", "DISCONNECT"
    assert broker.admin("GET", "/v1/queues") == [] and broker.admin("GET", "/v1/workers") == []


def test_where_no_token_is_needed_all_is_as_before_and_a_shown_one_is_held_against_its_holder(make_broker):
    broker, secrets = make(make_broker, auth="", eyes=("viewer",))
    with Client(broker) as client:
        client.send("q", b"{}")
        assert hello(client, None)[0] == "WELCOME"
        client.send("q", b"{}")
        assert hello(client, secrets["eyes"])[0] == "WELCOME"
        assert client.refused("SEND", {"queue": "q"}, b"{}")["code"] == "forbidden"
    with Worker(broker, "q") as worker:
        assert worker.hear()[0] == "DELIVER"
