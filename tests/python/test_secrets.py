"""What is secret is planted everywhere it may be configured, and looked for everywhere that the broker writes or answers."""

import json
import os
import subprocess

import tokens
from mub1 import BINARY, PATIENCE, Worker

# Each with a word of its own, so that a find says where it was from.
REDIS_URL = "planted-redis-url"
REDIS_FILE = "planted-redis-file"
WEBHOOK_USER = "planted-webhook-user"
WEBHOOK_QUERY = "planted-webhook-query"
WEBHOOK_SECRET = "planted-webhook-secret"


def run(*arguments, environment=None):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=PATIENCE, env={**os.environ, **(environment or {})})
    return done.stdout + done.stderr


def everything(broker):
    """All that is in the broker's data folder, as one."""
    files = [path for path in broker.data.rglob("*") if path.is_file()]
    return b"\n".join(path.read_bytes() for path in files) + broker.log.read_bytes()


def test_no_secret_is_in_logs_answers_or_files(make_broker, tmp_path):
    (tmp_path / "redis").write_text(REDIS_FILE)
    (tmp_path / "webhook").write_text(WEBHOOK_SECRET)
    token, line = tokens.make("anna", "admin")
    hash_ = line.split('hash = "')[1].split('"')[0]
    wrong = "mub_" + "Q" * 43
    config = tokens.config([line]) + f"""
[redis]
url = "redis://u:{REDIS_URL}@127.0.0.1:1"
password_file = "{tmp_path}/redis"
[alerts]
webhook = "http://u:{WEBHOOK_USER}@127.0.0.1:1/hook?key={WEBHOOK_QUERY}"
webhook_secret_file = "{tmp_path}/webhook"
[queues."*"]
[queues."r.*"]
mailbox = "redis"
"""
    environment = {"MUBROKER_LOG": "trace", "MUBROKER_TOKEN": token}
    broker = make_broker(config, environment=environment).start()
    answers = []
    for shown in (token, wrong, None):
        for path in ("/v1/overview", "/v1/tokens", "/v1/doors", "/v1/journal", "/v1/nothing"):
            answers.append(tokens.ask(broker, shown, "GET", path))
    _, host, port = tokens.address(broker)
    url = ["--url", f"http://{host}:{port}"]
    for shown in (token, wrong, token + "x"):
        given = {"MUBROKER_TOKEN": shown}
        answers += [run("queue", "ls", *url, environment=given), run("send", "-q", "r.a", "{}", *url, environment=given)]
    # Something to tell the webhook, which isn't there.
    with Worker(broker, "a") as worker:
        broker.cli("send", "-q", "a", "{}")
        _, header, _ = worker.hear()
        worker.say("NACK", {"delivery": header["delivery"], "error": {"code": "x", "message": "y"}, "action": "block"})
        broker.blocked("a")
        broker.until("the webhook fails", lambda: b"webhook" in everything(broker))
    answers += [broker.cli("token", "ls"), broker.cli("token", "ls", "--json")]
    for command in ("check", "show"):
        answers.append(run("config", command, "--config", str(broker.config), environment=environment))
    broker.process.send_signal(1)
    broker.until("it reloads", lambda: "the configuration is reloaded" in broker.tail())
    broker.cli("token", "revoke", "anna")
    broker.stop()
    said = json.dumps([str(answer) for answer in answers]).encode()
    kept = everything(broker).replace(hash_.encode() + b" anna\n", b"the revoked one\n")
    for secret in (REDIS_URL, REDIS_FILE, WEBHOOK_USER, WEBHOOK_QUERY, WEBHOOK_SECRET, token, wrong, hash_):
        assert secret.encode() not in said, secret
        assert secret.encode() not in kept, secret


def test_a_value_of_the_wrong_type_is_not_shown_where_it_may_be_secret(tmp_path):
    secret = "mub_" + "S" * 43
    for text in [f'auth = "{secret}"', f'[auth]\ntokens = "{secret}"', f'[auth]\ntokens = ["{secret}"]',
                 f'[auth]\ntokens = [{{ name = "a", role = "admin", hash = "{secret}" }}]',
                 f'[auth]\ntokens = [{{ name = ["{secret}"], role = "admin", hash = "x" }}]',
                 f'redis = "redis://u:{secret}@h"', f'[redis]\nurl = ["{secret}"]', f'[redis]\ntimeout_ms = "{secret}"',
                 f'[redis]\nurl = "{secret}"', f'[alerts]\nwebhook = "{secret}"', f'alerts = "{secret}"',
                 f'[alerts]\ndedup_ms = "{secret}"']:
        file = tmp_path / "mubroker.toml"
        file.write_text(text)
        said = run("config", "check", "--config", str(file))
        assert "mubroker.toml:" in said and secret not in said, said
