"""Peers with other bindings: zeromq.js and libzmq in C, each as client and as worker."""

import subprocess

from mub1 import PATIENCE, REPOSITORY


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_zeromq_js_sends_works_and_calls(broker):
    peer = str(REPOSITORY / "tests/node/peer.mjs")
    assert run("node", peer, broker.clients, broker.workers) == "ok"
    broker.until("all is done", lambda: broker.queue("node")["done"] == 51)


def test_libzmq_in_c_sends_and_works(broker, tmp_path):
    source, peer = REPOSITORY / "tests/c/peer.c", tmp_path / "peer"
    run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", str(peer), str(source), "-lzmq")
    assert run(str(peer), broker.clients, broker.workers) == "ok"
    broker.until("all is done", lambda: broker.queue("c")["done"] == 50)
