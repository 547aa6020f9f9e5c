"""Tokens as an operator makes them, and the admin API over TCP as a stranger's HTTP client sees it."""

import http.client
import json
import re
import ssl
import subprocess

from mub1 import BINARY, PATIENCE


def make(name, role, *more):
    """Runs `mubroker token new`: the token, and its line for the configuration."""
    done = subprocess.run([BINARY, "token", "new", "--name", name, "--role", role, "--json", *more],
                          capture_output=True, check=True, timeout=PATIENCE)
    made = json.loads(done.stdout)
    return made["token"], made["config"]


def config(lines, listen='admin = "tcp://127.0.0.1:0"', auth=""):
    """[listen] goes on with `listen`."""
    return listen + "\n\n[auth]\n" + auth + "\ntokens = [\n" + "\n".join(lines) + "\n]\n"


def address(broker):
    """(https?, host, port) of the admin API over TCP."""
    told = broker.until("it says where it listens", lambda: re.search(
        r"admin at (https?)://([^:]+|\[[^]]*\]):(\d+)", broker.log.read_text()))
    return told[1] == "https", told[2], int(told[3])


def connect(broker, trust=None):
    is_tls, host, port = address(broker)
    if is_tls:
        context = ssl.create_default_context(cafile=trust)
        return http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
    return http.client.HTTPConnection(host, port, timeout=PATIENCE)


def ask(broker, token, method, path, body=None, trust=None, headers=None):
    """One request; (status, what the body says, headers)."""
    connection = connect(broker, trust)
    try:
        sent = {"authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, {**sent, **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None, response.headers
    finally:
        connection.close()
