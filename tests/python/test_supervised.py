"""A worker of its own (`command`), kept running by the broker."""

import pathlib
import sys

from mub1 import Client, Worker

#: Speaks MUB1 by itself: told where the broker is, and who it is, by its environment. Hangs on a first attempt.
WORKER = """
import os, sys
sys.path.insert(0, sys.argv[1])
import mub1
class At: workers = os.environ["MUBROKER_WORKERS"]
worker = mub1.Worker(At, "q", name=os.environ["MUBROKER_WORKER_NAME"])
worker.header["worker"].update(pid=os.getpid(), spawn_id=os.environ["MUBROKER_SPAWN_ID"])
worker.ready()
print("ready", os.environ["GREETING"], os.getcwd(), flush=True)
while True:
    header, payload = worker.take(600)
    if header["attempt"] == 1 and payload == b"hang":
        while True:
            worker.hear(600)
    worker.ack(header, payload.upper())
"""


def test_a_worker_of_its_own_that_hangs_is_fenced_ended_and_started_again(make_broker, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    here = pathlib.Path(__file__).parent
    broker = make_broker(
        f'[queues.q]\nlease_ms = 500\nretry = {{ attempts = 2, initial_ms = 10, max_ms = 10 }}\n'
        f'[workers.own]\nqueue = "q"\ncommand = ["{sys.executable}", "{script}", "{here}"]\n'
        f'cwd = "{tmp_path}"\nenv = {{ GREETING = "hello" }}\nrestart = {{ backoff_initial_ms = 10 }}\n'
    ).start()
    with Client(broker) as client:
        client.send("q", b"work")
        broker.until("it is done", lambda: broker.queue("q")["done"] == 1)
        first = broker.admin("GET", "/v1/pools/own")["processes"][0]["pid"]
        client.send("q", b"hang")
        broker.until("another process has done it", lambda: broker.queue("q")["done"] == 2)
    pool = broker.admin("GET", "/v1/pools/own")
    assert pool["restarts"] == 1 and pool["last_exit"] == "it held a message for too long"
    assert pool["processes"][0]["pid"] != first
    assert not pathlib.Path(f"/proc/{first}").exists()
    kinds = [entry["kind"] for entry in broker.admin("GET", "/v1/journal?queue=q")["entries"]]
    assert "worker-fenced" in kinds and "blocked" not in kinds
    assert f"ready hello {tmp_path}" in broker.tail()


def test_a_connected_worker_is_told_to_drain_and_decides_itself(broker):
    with Worker(broker, "q", name="mine") as worker:
        broker.until("it is there", lambda: broker.admin("GET", "/v1/workers"))
        assert broker.cli("worker", "drain", "mine", "--reason", "maintenance") == "1 told\n"
        assert worker.hear()[:2] == ("DRAIN", {"reason": "maintenance"})
        broker.cli("worker", "restart", "mine")
        assert worker.hear()[0] == "RESTART"
        worker.say("BYE")
        assert worker.hear()[0] == "BYE"
