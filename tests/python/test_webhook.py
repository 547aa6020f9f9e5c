"""Events by the webhook: those types that the configuration asks for, each as the stream has it."""

import http.server
import json
import queue
import threading

import pytest

from mub1 import PATIENCE, Client, Worker


@pytest.fixture
def hook():
    """A server's URL, and what is posted there: id and body."""
    heard = queue.Queue()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.put((self.headers["mubroker-alert-id"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_webhook_gets_the_events_that_it_asks_for_as_the_stream_has_them(make_broker, hook):
    url, heard = hook
    broker = make_broker(
        f'[alerts]\nwebhook = "{url}"\nwebhook_events = ["dead-lettered", "worker-gone"]\n'
    ).start()
    with Client(broker) as client:
        with Worker(broker, "jobs") as worker:
            client.send("jobs", b"{}", id="j")
            worker.nack(worker.take()[0], "no such job", "dead-letter")
            name, event = heard.get(timeout=PATIENCE)
        assert (event["type"], event["queue"], event["id"]) == ("dead-lettered", "jobs", "j")
        assert event["details"]["to"] == "jobs.dead" and event["event_id"] == name
    assert heard.get(timeout=PATIENCE)[1]["type"] == "worker-gone", "worker-ready isn't asked for"
