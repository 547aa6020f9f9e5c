"""MUB1 from the outside: a client and a worker in plain pyzmq, and the real broker as a child process.

Nothing here knows the broker's code: frames as protocol.md has them, the admin API over its unix socket,
the command line. Every wait is bounded and says what was awaited and what the broker logged.
"""

import contextlib
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import threading
import time

import zmq

MAGIC = b"MUB1"
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("MUBROKER_BIN") or str(REPOSITORY / "target/debug/mubroker")
BINARY = str((REPOSITORY / BINARY).resolve())
#: How long a step may take, in seconds: far more than it needs, for a machine that does other things meanwhile. It
#: costs time only where a test fails.
PATIENCE = 60


def dump(header):
    return header if isinstance(header, bytes) else json.dumps(header).encode()


class Peer:
    """A socket of ours that says MUB1 and waits with a bound."""

    def __init__(self, kind, address, identity=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        # The tests decide how much is on its way, not the library's high-water mark.
        self.socket.sndhwm = self.socket.rcvhwm = 0
        if identity is not None:
            self.socket.identity = identity
        self.socket.connect(address)

    def say(self, verb, header=b"", *payload):
        self.socket.send_multipart([MAGIC, verb.encode(), dump(header), *payload])

    def say_frames(self, *frames):
        self.socket.send_multipart(list(frames))

    def hear(self, seconds=PATIENCE):
        """One message: its verb, its header as an object, its payload's frames."""
        if not self.socket.poll(int(seconds * 1000)):
            raise AssertionError(f"no frame came within {seconds} s")
        magic, verb, header, *payload = self.socket.recv_multipart()
        assert magic == MAGIC, magic
        return verb.decode(), json.loads(header or b"{}"), payload

    def hear_any(self, seconds=PATIENCE):
        """Like `hear`, for an answer that may carry a delimiter because what was sent looked like a REQ's."""
        if not self.socket.poll(int(seconds * 1000)):
            raise AssertionError(f"no frame came within {seconds} s")
        frames = self.socket.recv_multipart()
        magic, verb, header, *payload = frames[1:] if frames[0] == b"" else frames
        assert magic == MAGIC, magic
        return verb.decode(), json.loads(header or b"{}"), payload

    def silent(self, seconds):
        """Whether nothing comes for so long."""
        return not self.socket.poll(int(seconds * 1000))

    def close(self):
        self.socket.close()
        self.context.term()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def plain(kind, address, **options):
    """A socket without MUB1, with a bound on each wait."""
    context = zmq.Context()
    ours = context.socket(kind)
    ours.linger = 0
    ours.rcvtimeo = ours.sndtimeo = PATIENCE * 1000
    for option, value in options.items():
        setattr(ours, option, value)
    ours.connect(address)
    try:
        yield ours
    finally:
        ours.close()
        context.term()


class Client(Peer):
    """A REQ (the default) or a DEALER."""

    def __init__(self, broker, kind=zmq.REQ, identity=None):
        super().__init__(kind, broker.clients, identity)

    def ask(self, verb, header=b"", *payload):
        self.say(verb, header, *payload)
        return self.hear()

    def send(self, queue, payload, **header):
        """SEND; the header of ACCEPTED."""
        verb, answer, rest = self.ask("SEND", {"queue": queue, **header}, payload)
        assert (verb, rest) == ("ACCEPTED", []), (verb, answer)
        return answer

    def refused(self, verb, header=b"", *payload):
        """Asks what must be refused; the header of REJECTED."""
        verb, answer, _ = self.ask(verb, header, *payload)
        assert verb == "REJECTED", (verb, answer)
        return answer


class Worker(Peer):
    """A DEALER that says READY and then what the test tells it to."""

    def __init__(self, broker, *queues, credit=1, name="python", identity=None, token=None):
        super().__init__(zmq.DEALER, broker.workers, identity)
        #: What `silent` saw, for the next `hear`.
        self.unread = None
        #: PAUSE and RESUME, in their order.
        self.availability = []
        self.header = {"queues": list(queues), "credit": credit, "worker": {"name": name}}
        if token is not None:
            self.say("HELLO", {"token": token})
            verb, answer, _ = self.hear()
            assert verb == "WELCOME", (verb, answer)
        self.ready()

    def ready(self):
        self.say("READY", self.header)

    def hear(self, seconds=PATIENCE):
        """The next message that is not a heartbeat; the broker's are answered."""
        if self.unread:
            unread, self.unread = self.unread, None
            return unread
        end = time.monotonic() + seconds
        while True:
            verb, header, payload = super().hear(max(0.0, end - time.monotonic()))
            if not self._is_beside(verb, header):
                return verb, header, payload

    def _is_beside(self, verb, header):
        """Whether it comes beside what a test waits for; it is dealt with then."""
        if verb == "HEARTBEAT":
            self.say("HEARTBEAT")
        elif verb in ("PAUSE", "RESUME"):
            self.availability.append((verb, header["reason"]))
        else:
            return False
        return True

    def silent(self, seconds):
        """Whether nothing but heartbeats comes for so long."""
        end = time.monotonic() + seconds
        while not super().silent(max(0.0, end - time.monotonic())):
            magic, verb, *rest = self.socket.recv_multipart()
            verb, header = verb.decode(), json.loads(rest[0] or b"{}")
            if not self._is_beside(verb, header):
                self.unread = (verb, header, rest[1:])
                return False
        return True

    def take(self, seconds=PATIENCE):
        """The next delivery: its header and its payload."""
        verb, header, payload = self.hear(seconds)
        assert verb == "DELIVER" and len(payload) == 1, (verb, header)
        return header, payload[0]

    def ack(self, delivery, reply=b""):
        self.say("ACK", {"delivery": delivery["delivery"]}, reply)

    def nack(self, delivery, message, action="retry"):
        error = {"code": "refused", "message": message}
        self.say("NACK", {"delivery": delivery["delivery"], "error": error, "action": action})


class WorkerThread:
    """A worker that keeps all it was given and calls `work(header, payload)`: a reply acknowledges, an
    exception refuses. `wait_for(test)` waits until what it has seen fulfils the test. With `again` it says
    READY after each BYE: the store was opened again."""

    def __init__(self, broker, *queues, work=lambda header, payload: b"", credit=1, again=False, token=None):
        self.again = again
        self.token = token
        self.seen = []
        self.verbs = []
        self.work = work
        self.changed = threading.Condition()
        self.over = threading.Event()
        self.failure = None
        self.ready = threading.Event()
        arguments = (broker, queues, credit)
        self.thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def _run(self, broker, queues, credit):
        try:
            with Worker(broker, *queues, credit=credit, token=self.token) as worker:
                self.ready.set()
                while not self.over.is_set():
                    if worker.silent(0.05):
                        continue
                    verb, header, payload = worker.hear()
                    if verb == "DELIVER":
                        self._deliver(worker, header, payload[0])
                    else:
                        self._note(self.verbs, (verb, header))
                        if verb == "BYE" and self.again:
                            worker.ready()
                worker.say("BYE")
        except Exception as error:  # told to the test by wait_for
            self.failure = error
            with self.changed:
                self.changed.notify_all()

    def _deliver(self, worker, header, payload):
        try:
            reply = self.work(header, payload)
        except Exception as error:
            self._note(self.seen, (header, payload))
            worker.nack(header, str(error))
        else:
            self._note(self.seen, (header, payload))
            worker.ack(header, reply)

    def _note(self, where, what):
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def wait_for(self, what, test, seconds=2 * PATIENCE):
        with self.changed:
            met = self.changed.wait_for(lambda: self.failure or test(self.seen), seconds)
        if self.failure:
            raise self.failure
        assert met, f"waited {seconds} s for {what}; {len(self.seen)} deliveries were seen"

    def stop(self):
        self.over.set()
        self.thread.join(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class AdminConnection(http.client.HTTPConnection):
    """HTTP over the admin API's unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Broker:
    """`mubroker serve` in a folder of its own, on ports of its own."""

    def __init__(self, folder, config="", wrap=(), environment=None):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.config = self.folder / "mubroker.toml"
        self.log = self.folder / "output.log"
        self.wrap = list(wrap)
        self.environment = environment or {}
        self.process = None
        self.config.write_text(
            f'data_dir = "{self.data}"\n\n[listen]\n'
            f'clients = "tcp://127.0.0.1:0"\nworkers = "tcp://127.0.0.1:0"\n\n{config}'
        )

    def start(self):
        output = open(self.log, "ab")
        self.process = subprocess.Popen(
            [*self.wrap, BINARY, "serve", "--config", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **self.environment},
        )
        output.close()
        overview = self.until("the admin API answers", self._overview)
        self.pid = overview["pid"]
        self.clients, self.workers = overview["clients"], overview["workers"]
        return self

    def _overview(self):
        code = self.process.poll()
        assert code is None, f"the broker ended with {code} at its start\n{self.tail()}"
        try:
            overview = self.admin("GET", "/v1/overview")
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        # After a kill -9 nothing but the new process may answer.
        return overview if self.wrap or overview["pid"] == self.process.pid else None

    def until(self, what, probe, seconds=PATIENCE):
        """Asks `probe` until it gives something; for what the broker does not tell by itself."""
        end = time.monotonic() + seconds
        while True:
            found = probe()
            if found:
                return found
            assert time.monotonic() < end, f"waited {seconds} s until {what}\n{self.tail()}"
            select.select([], [], [], 0.01)

    def admin(self, method, path, body=None):
        connection = AdminConnection(self.data / "admin.sock")
        try:
            headers = {"content-type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status < 300, (method, path, response.status, text)
            return json.loads(text)
        finally:
            connection.close()

    def refused(self, method, path, body=None):
        """What the admin API says to a request that it doesn't do."""
        connection = AdminConnection(self.data / "admin.sock")
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            problem = json.loads(response.read())
        finally:
            connection.close()
        assert response.status == problem["status"] and 400 <= response.status < 500, problem
        return problem

    def queue(self, name):
        return self.admin("GET", f"/v1/queues/{name}")

    def door(self, name):
        """One of its sockets, with its counts."""
        return next(door for door in self.admin("GET", "/v1/doors") if door["name"] == name)

    def blocked(self, name):
        """Waits until the queue is blocked; its view."""
        probe = lambda: (view := self.queue(name))["state"] == "blocked" and view
        return self.until(f"{name} is blocked", probe)

    def cli(self, *arguments, stdin=None, code=0):
        """Runs a command against this broker; what it printed."""
        done = subprocess.run(
            [BINARY, *arguments],
            env={**os.environ, "MUBROKER_DATA_DIR": str(self.data)},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=PATIENCE,
        )
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{said}"
        return done.stdout.decode() if code == 0 else said

    def rss_bytes(self):
        return self._memory("VmRSS:")

    def own_bytes(self):
        """Resident memory without what is mapped from files: the binary and libraries."""
        return self._memory("RssAnon:")

    def _memory(self, name):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tail(self):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        logs = sorted(self.data.glob("log/*"))
        if logs:
            text += "\n-- log --\n" + logs[-1].read_text(errors="replace")
        return text[-6000:]

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self, seconds=PATIENCE):
        """SIGTERM; the exit code, which must come in time. That it comes within 5 s `test_process` shows."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {seconds} s of SIGTERM\n{self.tail()}") from None


def stay(broker):
    """From now on the broker has the same addresses after a restart."""
    text = broker.config.read_text()
    for name, address in (("clients", broker.clients), ("workers", broker.workers)):
        text = text.replace(f'{name} = "tcp://127.0.0.1:0"', f'{name} = "{address}"')
    broker.config.write_text(text)
    return broker
