"""A real redis-server on a port and in a folder of its own, asked by redis-cli as another program would."""

import os
import select
import shutil
import signal
import socket
import subprocess
import time

PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """Writes everything down before it answers (appendfsync always), so that a kill loses nothing."""

    def __init__(self, folder, password=None, tls=None):
        assert shutil.which("redis-server"), "redis-server is missing: tests/run installs it"
        self.folder, self.password, self.tls = folder, password, tls
        self.port = free_port()
        self.process = None

    @property
    def url(self):
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}"

    def start(self):
        listen = ["--port", str(self.port)]
        if self.tls:
            listen = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            listen += ["--tls-cert-file", self.tls / "server.pem", "--tls-key-file", self.tls / "server.key"]
            listen += ["--tls-ca-cert-file", self.tls / "ca.pem"]
        if self.password:
            listen += ["--requirepass", self.password]
        self.process = subprocess.Popen(
            ["redis-server", *listen, "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
             "--appendonly", "yes", "--appendfsync", "always"],
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except ConnectionRefusedError:
                assert self.process.poll() is None, "redis-server ended at its start"
                assert time.monotonic() < end, "redis-server does not listen"
                select.select([], [], [], 0.01)

    def cli(self, *words, stdin=None):
        """One command; what it answers, in lines."""
        options = ["-p", str(self.port)]
        if self.tls:
            options += ["--tls", "--cacert", self.tls / "ca.pem"]
        environment = {**os.environ, **({"REDISCLI_AUTH": self.password} if self.password else {})}
        done = subprocess.run(
            ["redis-cli", *options, *words], input=stdin, capture_output=True, timeout=PATIENCE, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().splitlines()

    def length(self, queue):
        return int(self.cli("XLEN", f"mubroker:{queue}")[0])

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def lose_everything(self):
        """As one that keeps nothing on disk."""
        self.kill()
        shutil.rmtree(self.folder / "appendonlydir")
        self.start()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


def certificates(folder):
    """An authority of our own, and a server's certificate by it."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority",
            "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=redis", "-keyout", "server.key",
            "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "server.pem")
    return folder
