"""The Node library in assets/clients/node, against the real broker; what it is asked to do is in tests/node/library.mjs."""

import re
import signal
import subprocess
import threading

import pytest

from mub1 import PATIENCE, REPOSITORY, stay

NODE = REPOSITORY / "tests/node"
PARTS = {
    "verbs": "",
    "errors": "[queues.small]\nmax_messages = 1\n",
    "calls": "",
    "restart": "",
    "leases": "[queues.q]\nlease_ms = 1000\n",
    "late": "[queues.q]\nlease_ms = 1000\n[queues.other]\n",
    "odd": "",
    "refusals": "",
    "alerts": "",
}


def node(*arguments):
    # The library is a link; what it needs is beside the link.
    return subprocess.Popen(
        ["node", "--preserve-symlinks", "--preserve-symlinks-main", *arguments],
        cwd=NODE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("part", PARTS)
def test_the_library_does(make_broker, part):
    broker = stay(make_broker(PARTS[part]).start())
    with node(str(NODE / "library.mjs"), part, broker.clients, broker.workers) as ran:
        said = []
        # One that hangs says nothing more; its pipe ends with it.
        end = threading.Timer(3 * PATIENCE, ran.kill)
        end.daemon = True
        end.start()
        for line in ran.stdout:
            said.append(line.strip())
            if said[-1] in ("kill", "restart"):
                broker.kill()
                if said[-1] == "restart":
                    broker.start()
                ran.stdin.write("done\n")
                ran.stdin.flush()
        end.cancel()
        assert ran.wait(PATIENCE) == 0, "\n".join(said)
    assert said[-1] == "ok", said


def test_the_readmes_program_runs(broker):
    text = (REPOSITORY / "assets/clients/node/README.md").read_text()
    (program,) = re.findall(r"```js\n(.*?)```", text, re.S)
    program = program.replace("tcp://127.0.0.1:5555", broker.clients).replace("tcp://127.0.0.1:5556", broker.workers)
    with node("--input-type=module", "--eval", program) as ran:
        assert ran.stdout.readline() == "invoices 1\n"
        broker.until("it is booked", lambda: broker.queue("invoices")["depth"] == 0)
        ran.send_signal(signal.SIGTERM)
        assert ran.wait(PATIENCE) == 0
