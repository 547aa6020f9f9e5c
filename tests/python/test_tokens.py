"""The admin API over TCP: who may come in, what each role may do, with which queues, and until when."""

import json
import os
import signal
import socket
import subprocess

import pytest

import tokens
from mub1 import BINARY, PATIENCE, Client
from redis_server import certificates

ROLES = ["viewer", "operator", "editor", "admin", "producer", "worker"]


@pytest.fixture
def held(make_broker):
    """A broker with a token of each role, and one message in `orders`."""
    made = {role: tokens.make(role, role) for role in ROLES}
    broker = make_broker(tokens.config([line for _, line in made.values()])).start()
    broker.cli("send", "-q", "orders", "{}")
    return broker, {role: token for role, (token, _) in made.items()}


def repair(action, key, **more):
    return "POST", "/v1/queues/orders/messages/1/repair", {
        "key": key, "expect_revision": 0, "action": action, "reason": "test", **more}


def test_each_role_may_do_what_the_table_says(held):
    broker, secrets = held
    edit = {"payload": {"encoding": "utf8", "data": "{}"}}
    asked = [
        ("read", ("GET", "/v1/queues/orders", None)),
        ("read", ("GET", "/v1/queues/orders/messages/1/payload", None)),
        ("read", ("GET", "/v1/journal", None)),
        ("operate", ("POST", "/v1/queues/orders/pause", {})),
        ("operate", ("POST", "/v1/queues/orders/messages/1/hold", {"for_ms": 0})),
        ("operate", ("POST", "/v1/workers/none/drain", {})),
        ("operate", ("POST", "/v1/pools/none/restart", None)),
        ("retry", repair("retry", "r")),
        ("edit", repair("save", "s", **edit)),
        ("edit", repair("undo-save", "u")),
        ("edit", repair("save-and-retry", "sr", **edit)),
        ("cancel", repair("cancel", "c")),
        ("cancel", repair("restore", "re")),
        ("move", repair("move", "m", to="elsewhere")),
        ("dead-letter", repair("dead-letter", "d")),
        ("cancel", ("POST", "/v1/sagas/none/act", {"act": "abort"})),
        ("retry", ("POST", "/v1/sagas/none/act", {"act": "retry"})),
        ("settings", ("POST", "/v1/queues/orders/settings", {"set": {}})),
        ("settings", ("DELETE", "/v1/topics/t/subscriptions/orders", None)),
        ("delete", ("POST", "/v1/queues/none/delete", {})),
        ("store", ("POST", "/v1/store/backup", {"to": "relative"})),
        ("tokens", ("GET", "/v1/tokens", None)),
        ("tokens", ("POST", "/v1/tokens/none/revoke", None)),
    ]
    may = {
        "viewer": {"read"},
        "operator": {"read", "operate", "retry"},
        "editor": {"read", "operate", "retry", "edit", "cancel", "move", "dead-letter"},
        "admin": {right for right, _ in asked},
        "producer": set(),
        "worker": set(),
    }
    for role in ["viewer", "producer", "worker", "operator", "editor", "admin"]:
        for right, (method, path, body) in asked:
            status, said, _ = tokens.ask(broker, secrets[role], method, path, body)
            if right in may[role]:
                assert status not in (401, 403), (role, right, path, said)
            else:
                assert (status, said["code"]) == (403, "forbidden"), (role, right, path, said)
                assert f'the token "{role}" may not do this: ' in said["detail"]
                # Who may not even look hears that first.
                missing = {right} | {"read"} - may[role]
                assert any(f"`{one}`" in said["detail"] for one in missing), (role, right, path, said)


def test_without_a_token_nothing_is_told_and_too_many_tries_are_told_to_wait(held):
    broker, secrets = held
    for token in [None, "mub_" + "A" * 43, secrets["admin"][:-1], secrets["admin"] + "A", "x" * 9000]:
        status, said, headers = tokens.ask(broker, token, "GET", "/v1/overview")
        assert (status, said["code"], headers["www-authenticate"]) == (401, "unauthorized", "Bearer")
        assert headers["connection"] == "close"
    # A path that there isn't, and another scheme.
    assert tokens.ask(broker, None, "GET", "/nothing")[0] == 401
    basic = {"authorization": "Basic " + secrets["admin"]}
    assert tokens.ask(broker, None, "GET", "/v1/overview", headers=basic)[0] == 401
    statuses = [tokens.ask(broker, None, "GET", "/v1/overview")[0] for _ in range(6)]
    assert statuses == [401, 401, 401, 429, 429, 429], "ten in a minute"
    status, said, headers = tokens.ask(broker, "wrong", "GET", "/v1/overview")
    assert status == 429 and 1 <= int(headers["retry-after"]) <= 60 and "wait" in said["detail"]
    assert tokens.ask(broker, secrets["viewer"], "GET", "/v1/overview")[0] == 200, "what is right passes"
    log = broker.tail()
    assert log.count("asked too often without a token") == 2, "one warning: in the log, on standard error"
    assert log.count("asked without a token that counts") == 10


def test_the_tokens_name_is_the_actor_in_the_journal(held):
    broker, secrets = held
    status, _, _ = tokens.ask(broker, secrets["operator"], "POST", "/v1/queues/orders/pause", {"reason": "night"},
                              headers={"x-mubroker-via": "console"})
    assert status == 204
    entry = broker.admin("GET", "/v1/journal")["entries"][0]
    assert (entry["actor"], entry["reason"]) == ({"name": "operator", "via": "console"}, "night")


def test_a_token_for_some_queues_sees_and_touches_no_others(make_broker):
    secret, line = tokens.make("eu", "admin", "--queues", "eu.*,orders")
    broker = make_broker(tokens.config([line])).start()
    for queue in ["eu.a", "orders", "us.a"]:
        broker.cli("send", "-q", queue, "--id", f"in-{queue}", "{}")
        broker.cli("queue", "pause", queue)

    def ask(method, path, body=None):
        return tokens.ask(broker, secret, method, path, body)[:2]

    assert sorted(queue["name"] for queue in ask("GET", "/v1/queues")[1]) == ["eu.a", "orders"]
    entries = ask("GET", "/v1/journal")[1]["entries"]
    assert {entry["queue"] for entry in entries} == {"eu.a", "orders"}
    assert ask("GET", "/v1/messages/in-eu.a")[0] == 200
    for method, path, body in [
        ("GET", "/v1/queues/us.a", None),
        ("GET", "/v1/queues/us.a/messages/1/payload", None),
        ("GET", "/v1/messages/in-us.a", None),
        ("GET", "/v1/journal?queue=us.a", None),
        ("GET", "/v1/events?queue=us.a", None),
        ("POST", "/v1/queues/us.a/pause", {}),
        ("POST", "/v1/queues/eu.a/redrive", {"key": "k", "to": "us.a"}),
        ("PUT", "/v1/topics/t/subscriptions/eu.a", {}),
        ("POST", "/v1/store/backup", {"to": "/nowhere"}),
        ("GET", "/v1/tokens", None),
        ("GET", "/v1/doors", None),
    ]:
        status, said = ask(method, path, body)
        assert (status, said["code"]) == (403, "forbidden"), (path, said)
    move = {"key": "m1", "expect_revision": 0, "action": "move", "to": "us.a", "reason": "x"}
    status, said = ask("POST", "/v1/queues/eu.a/messages/1/repair", move)
    assert (status, "us.a is not among its queues (eu.*, orders)" in said["detail"]) == (403, True), said
    assert ask("POST", "/v1/queues/eu.a/messages/1/repair", {**move, "to": "orders"})[0] == 200

    # What says that it came from elsewhere doesn't go there, moved or redriven.
    with Client(broker) as client:
        client.send("eu.a", b"{}", id="forged", dead_letter={"queue": "us.a"})
    back = {"key": "m2", "expect_revision": 0, "action": "move", "reason": "x"}
    assert ask("POST", "/v1/queues/eu.a/messages/2/repair", back)[0] == 403
    status, said = ask("POST", "/v1/queues/eu.a/redrive", {"key": "rd"})
    assert status == 200 and "moved" not in said["messages"][0]
    assert "it would go to us.a, which is not among the queues" in said["messages"][0]["reason"]
    assert broker.queue("us.a")["depth"] == 1


def test_a_saved_header_reaches_no_queue_of_others(make_broker):
    secret, line = tokens.make("eu", "editor", "--queues", "eu.*")
    mute, mute_line = tokens.make("mute", "editor", "--without", "send")
    broker = make_broker(tokens.config([line, mute_line]) + '[queues."*"]\n').start()
    with Client(broker) as client:
        client.send("eu.a", b"{}", id="one")
        client.send("eu.a", b"{}", id="two", reply_to="us.answers")

    def save(seq, revision, header, action="save", token=secret):
        body = {"key": f"{seq}-{revision}-{len(tried)}", "expect_revision": revision, "action": action, "reason": "x",
                "payload": {"encoding": "utf8", "data": "{}"}, "header": header}
        tried.append(body)
        status, said, _ = tokens.ask(broker, token, "POST", f"/v1/queues/eu.a/messages/{seq}/repair", body)
        return status, said.get("detail", "")

    tried = []
    for action in ("save", "save-and-retry"):
        for field, header in [("reply_to", {"reply_to": "us.a"}), ("dead_letter", {"dead_letter": {"queue": "us.a"}})]:
            status, detail = save(1, 0, {"id": "one", **header}, action)
            assert status == 403, (header, detail)
            assert f"header field `{field}`: the queue us.a is not among its queues (eu.*)" in detail
    status, detail = save(1, 0, {"id": "one", "reply_to": "us.a"}, token=mute)
    assert (status, "the right `send` is needed" in detail) == (403, True), detail
    assert save(1, 0, {"id": "one", "reply_to": "eu.b"})[0] == 200
    # What its sender wanted stays, but isn't changed to another one.
    assert save(2, 0, {"id": "two", "reply_to": "us.answers", "x": 1})[0] == 200
    assert save(2, 1, {"id": "two", "reply_to": "us.a"})[0] == 403


def test_who_may_not_edit_sends_no_large_body(make_broker):
    made = {role: tokens.make(role, role) for role in ("viewer", "operator", "editor")}
    broker = make_broker(tokens.config([line for _, line in made.values()])).start()
    broker.cli("send", "-q", "orders", "{}")
    for role, status in [("viewer", 403), ("operator", 403), ("editor", 413)]:
        connection = tokens.connect(broker)
        connection.putrequest("POST", "/v1/queues/orders/messages/1/repair")
        connection.putheader("authorization", f"Bearer {made[role][0]}")
        connection.putheader("content-length", str(200 * 1024 * 1024))
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == status, "told before a byte of the body has come"
        connection.close()
    # Without a length it is read as far as the caller may send.
    connection = tokens.connect(broker)
    connection.putrequest("POST", "/v1/queues/orders/messages/1/repair")
    connection.putheader("authorization", f"Bearer {made['operator'][0]}")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    connection.send(b"%x\r\n" % (2 << 20) + b" " * (2 << 20) + b"\r\n")
    assert connection.getresponse().status == 413


def test_the_event_streams_tell_of_the_tokens_queues_only(make_broker):
    secret, line = tokens.make("eu", "viewer", "--queues", "eu.*")
    broker = make_broker(tokens.config([line])).start()
    for path in ["/v1/events", "/v1/stream"]:
        connection = tokens.connect(broker)
        connection.request("GET", path, headers={"authorization": f"Bearer {secret}"})
        response = connection.getresponse()
        assert response.status == 200
        names = [path.rsplit("/")[-1] + n for n in ("1", "2")]
        for name in names:
            broker.cli("send", "-q", f"us.{name}", "{}")
            broker.cli("send", "-q", f"eu.{name}", "{}")
        seen = b""
        while f"eu.{names[1]}".encode() not in seen:
            seen += response.readline()
        assert b"us." not in seen
        connection.close()


def test_a_revoked_token_counts_no_more_at_once_and_after_a_restart(make_broker):
    (anna, first), (bert, second) = tokens.make("anna", "viewer"), tokens.make("bert", "admin")
    broker = make_broker(tokens.config([first, second])).start()
    stream = tokens.connect(broker)
    stream.request("GET", "/v1/stream", headers={"authorization": f"Bearer {anna}"})
    following = stream.getresponse()
    assert following.status == 200
    listed = json.loads(broker.cli("token", "ls", "--json"))
    assert [(token["name"], token["role"], token["revoked"]) for token in listed] == [
        ("anna", "viewer", False), ("bert", "admin", False)]
    assert "sha256" not in str(listed)

    assert "anna is revoked" in broker.cli("token", "revoke", "anna")
    try:
        while following.readline():
            pass
    except (ConnectionError, OSError):
        pass
    assert tokens.ask(broker, anna, "GET", "/v1/overview")[0] == 401
    assert tokens.ask(broker, bert, "GET", "/v1/overview")[0] == 200
    assert "there is no token" in broker.cli("token", "revoke", "carl", code=6)
    broker.stop()
    broker.log.unlink()
    broker.start()
    assert tokens.ask(broker, anna, "GET", "/v1/overview")[0] == 401
    assert "revoked" in broker.cli("token", "ls").splitlines()[1]
    assert (broker.data / "revoked-tokens").stat().st_mode & 0o777 == 0o600


def test_sighup_takes_over_tokens_and_says_what_it_can_not(make_broker):
    (anna, first), (bert, second) = tokens.make("anna", "viewer"), tokens.make("bert", "viewer")
    broker = make_broker(tokens.config([first])).start()
    assert tokens.ask(broker, bert, "GET", "/v1/overview")[0] == 401
    text = broker.config.read_text()

    def reload(text, said):
        broker.config.write_text(text)
        before = broker.tail().count(said)
        broker.process.send_signal(signal.SIGHUP)
        broker.until(f"it says {said}", lambda: broker.tail().count(said) > before)

    reload(text.replace(first, second) + "\n[store]\njournal_entries = 7\n", "SIGHUP: the configuration is reloaded")
    assert tokens.ask(broker, bert, "GET", "/v1/overview")[0] == 200
    assert tokens.ask(broker, anna, "GET", "/v1/overview")[0] == 401
    assert "after a restart only" in broker.tail() and 'changed="store.journal_entries"' in broker.tail()
    reload("[listen]\nclient = 1\n", "all stays as it was")
    assert tokens.ask(broker, bert, "GET", "/v1/overview")[0] == 200


def test_tls_by_a_certificate_that_can_be_renewed(make_broker, tmp_path):
    folder = certificates(tmp_path)
    secret, line = tokens.make("anna", "operator")
    listen = (f'admin = "tcp://127.0.0.1:0"\nadmin_cert_file = "{folder}/server.pem"\n'
              f'admin_key_file = "{folder}/server.key"')
    broker = make_broker(tokens.config([line], listen)).start()
    trust = str(folder / "ca.pem")
    assert tokens.ask(broker, secret, "GET", "/v1/overview", trust=trust)[0] == 200
    _, host, port = tokens.address(broker)
    url = f"https://{host}:{port}"
    (folder / "token").write_text(secret + "\n")
    broker.cli("send", "-q", "orders", "{}")

    def cli(*arguments, code=0, **environment):
        done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL, env={**os.environ, **environment})
        assert done.returncode == code, done
        return done.stdout + done.stderr

    elsewhere = ["--url", url, "--ca-file", trust]
    assert "orders" in cli("queue", "ls", *elsewhere, "--token-file", str(folder / "token"))
    assert "orders" in cli("queue", "ls", "--ca-file", trust, MUBROKER_TOKEN=secret, MUBROKER_URL=url)
    refused = cli("send", "-q", "more", "{}", *elsewhere, code=6, MUBROKER_TOKEN=secret)
    assert "`send` is needed" in refused, "the door is told, and so is the token"
    cli("queue", "pause", "orders", *elsewhere, MUBROKER_TOKEN=secret)
    assert broker.admin("GET", "/v1/journal")["entries"][0]["actor"] == {"name": "anna", "via": "cli"}
    assert "forbidden" not in cli("queue", "delete", "orders", "--purge", "--reason", "x", *elsewhere, code=6,
                                  MUBROKER_TOKEN=secret)
    assert "needs a token" in cli("queue", "ls", *elsewhere, code=2)
    wrong = cli("queue", "ls", "--url", url, code=5, MUBROKER_TOKEN=secret)
    assert "UnknownIssuer" in wrong or "no certificate" in wrong, wrong
    plain = cli("queue", "ls", "--url", url.replace("https", "http"), code=1, MUBROKER_TOKEN=secret)
    assert secret not in plain

    def shown():
        import ssl
        context = ssl.create_default_context(cafile=trust)
        with socket.create_connection((host, port), timeout=PATIENCE) as raw:
            with context.wrap_socket(raw, server_hostname=host) as stream:
                return stream.getpeercert(True)

    before = shown()
    certificates(folder)
    broker.process.send_signal(signal.SIGHUP)
    broker.until("the new certificate is shown", lambda: shown_or_none(shown) not in (None, before))
    (folder / "server.pem").write_text("nothing")
    broker.process.send_signal(signal.SIGHUP)
    broker.until("it refuses that", lambda: "the certificate stays as it was" in broker.tail())
    assert tokens.ask(broker, secret, "GET", "/v1/overview", trust=trust)[0] == 200


def shown_or_none(shown):
    try:
        return shown()
    except OSError:
        return None


def test_what_would_be_open_to_others_is_refused_at_the_start(make_broker, tmp_path):
    _, line = tokens.make("anna", "operator")
    for config, said in [
        ('admin = "tcp://127.0.0.1:0"', "[auth] has none"),
        ('admin = "tcp://0.0.0.0:0"', "[auth] has none"),
        ('clients = "tcp://0.0.0.0:0"', "lets other machines connect"),
        (tokens.config([line], 'push = "tcp://0.0.0.0:0"'), "lets other machines connect"),
        ('[[proxy]]\nname = "p"\nkind = "queue"\nfrontend = "tcp://0.0.0.0:0"\nbackend = "tcp://127.0.0.1:0"',
         "lets other machines connect"),
        (tokens.config([line], 'admin = "tcp://127.0.0.1:0"\nadmin_cert_file = "/x.pem"'), "admin_key_file"),
        (tokens.config([line], 'admin_cert_file = "/x"\nadmin_key_file = "/y"'), "has no tcp://HOST:PORT"),
    ]:
        file = tmp_path / "mubroker.toml"
        file.write_text(f'data_dir = "{tmp_path}/data"\n[listen]\n{config}\n')
        done = subprocess.run([BINARY, "serve", "--config", str(file)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert (done.returncode, said in done.stderr) == (4, True), done
    broker = make_broker(tokens.config([line], 'admin = "tcp://*:0"')).start()
    assert "is not encrypted" in broker.tail()
