"""`mubroker worker --http`: a server does the work; and `--seen`."""

import contextlib
import http.server
import subprocess
import threading

from mub1 import BINARY, Client


@contextlib.contextmanager
def server():
    """A server that notes what it gets, refuses `no`, and answers all else in capitals."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.headers["mubroker-id"], body))
            self.send_response(422 if body == b"no" else 200)
            self.end_headers()
            self.wfile.write(b"not this one\nmore" if body == b"no" else body.upper())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/work", seen
        httpd.shutdown()


@contextlib.contextmanager
def worker(broker, *arguments):
    command = [BINARY, "worker", "--broker", broker.workers, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def test_a_server_does_messages_and_what_it_refuses_blocks(broker):
    with server() as (url, seen), worker(broker, "--queue", "q", "--http", url):
        with Client(broker) as client:
            verb, header, payload = client.ask("CALL", {"queue": "q", "id": "m1", "timeout_ms": 20_000}, b"work")
            assert (verb, header["status"], payload) == ("REPLY", "ok", [b"WORK"])
            client.send("q", b"no", id="m2")
        head = broker.blocked("q")["head"]
        assert head["error"]["code"] == "http-422"
        assert head["error"]["message"] == "422 Unprocessable Entity: not this one"
        assert seen == [("m1", b"work"), ("m2", b"no")]


def test_a_message_that_was_done_is_not_done_again_by_a_worker_that_keeps_ids(make_broker, tmp_path):
    broker = make_broker('[queues.q]\ndedup = "off"\n').start()
    arguments = ["--queue", "q", "--seen", str(tmp_path / "seen"), "--http"]
    with server() as (url, seen), Client(broker) as client:
        for n in range(2):
            # A worker that is started anew knows it, too.
            with worker(broker, *arguments, url):
                client.send("q", b"work", id="same")
                broker.until("it is done", lambda: broker.queue("q")["done"] == n + 1)
        assert seen == [("same", b"work")]
