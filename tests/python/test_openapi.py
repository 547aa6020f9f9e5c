"""The admin API against its own specification: whatever is asked, no answer is a 5xx, and each is as `openapi.json` says.
schemathesis makes the requests, right ones and wrong ones."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest
import zmq

from mub1 import PATIENCE, AdminConnection, Client, Worker

#: Requests to each operation, of each kind. `MUBROKER_EXAMPLES` asks for more.
EXAMPLES = int(os.environ.get("MUBROKER_EXAMPLES", "12"))
#: Seconds in all; what is left out then is told.
LIMIT = 45
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]
#: These never end, as they should.
ENDLESS = ["/v1/events", "/v1/stream"]
#: This would write wherever the disk has a folder.
WRITES = ["/v1/store/backup"]
CONFIG = """
[queues."*"]
[queues."bills"]
on_failure = "dead-letter"
retry = { attempts = 1 }
[topics."order.created"]
subscriptions = [{ queue = "billing", filter = "body.total > 100" }]
[sagas."trip"]
steps = [{ name = "flight", queue = "trip.flight" }]
[gathers."quotes"]
recipients = [{ queue = "insurer.a" }]
"""


class Door(threading.Thread):
    """A TCP address before the unix socket, for who speaks no HTTP over one."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = str(path)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            far.connect(self.path)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One of both ends is gone; so is the other.
            source.close()
            sink.close()

    def close(self):
        self.listener.close()


@pytest.fixture
def broker(make_broker):
    """A broker in which there is something of everything."""
    broker = make_broker(CONFIG).start()
    with Client(broker, zmq.DEALER) as client, Worker(broker, "bills") as worker:
        for n in range(3):
            client.send("waiting", b'{"n": %d}' % n, key="k", headers={"tenant": "fr"})
        client.send("bills", b"\xff\x00 no text")
        worker.nack(worker.take()[0], "no")
        broker.until("there is a dead letter", lambda: broker.queue("bills")["dead_lettered"] == 1)
        client.ask("START", {"saga": "trip", "id": "saga-1"}, b"{}")
    return broker


@pytest.mark.timeout(2 * LIMIT + PATIENCE)
@pytest.mark.parametrize("known", [False, True], ids=["whatever", "what-there-is"])
def test_no_request_brings_a_5xx_or_an_answer_that_the_specification_does_not_know(broker, tmp_path, known):
    door = Door(broker.data / "admin.sock")
    (tmp_path / "schemathesis.toml").write_text(
        '[parameters]\n"path.queue" = ["waiting", "bills", "bills.dead"]\n"path.seq" = [1, 2, 3]\n'
        '"path.id" = ["saga-1"]\n"path.topic" = "order.created"\n'
        if known
        else ""
    )
    command = [str(pathlib.Path(sys.executable).parent / "schemathesis")]
    command += ["--config-file", str(tmp_path / "schemathesis.toml")] if known else []
    command += ["run", f"{door.url}/v1/openapi.json", "--checks", ",".join(CHECKS)]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--max-time", str(LIMIT)]
    command += ["--seed", os.environ.get("MUBROKER_SEED", "7"), "--workers", "1", "--continue-on-failure"]
    for path in ENDLESS + WRITES:
        command += ["--exclude-path", path]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=2 * LIMIT, env={**os.environ, "NO_COLOR": "1"}
    )
    door.close()
    assert done.returncode == 0, f"{done.stdout[-20000:]}{done.stderr[-2000:]}"
    # It lives, and serves the file that is checked in.
    connection = AdminConnection(broker.data / "admin.sock")
    connection.request("GET", "/v1/openapi.json")
    served = json.loads(connection.getresponse().read())
    connection.close()
    assert served == json.loads((pathlib.Path(__file__).parents[2] / "assets/openapi.json").read_text())
    assert served["openapi"].startswith("3.1.")
