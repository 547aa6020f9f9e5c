"""A DEALER's connection, and what becomes of it."""

import zmq
from zmq.utils.monitor import parse_monitor_message


class Link:
    """A DEALER that connects again by itself. What is offered while it isn't connected is not kept: whoever offers knows what
    must be said on a new connection."""

    def __init__(self, address, context=None):
        self.address, self._context = address, context or zmq.Context.instance()
        self.is_connected = False
        self._open()

    def _open(self):
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 1000
        # What is under way is bounded by who asks; and nothing waits for a connection that may never come.
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.immediate = True
        self.socket.reconnect_ivl, self.socket.reconnect_ivl_max = 100, 2000
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self.socket.connect(self.address)

    def heard(self, frames):
        """An event of the monitor; whether it is a new connection."""
        self.is_connected = parse_monitor_message(frames)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        return self.is_connected

    def renew(self):
        """Another connection, since nothing is heard through this one."""
        self.close()
        self._open()

    def close(self):
        self.is_connected = False
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close()


class BlockingLink(Link):
    """For one thread."""

    def offer(self, frames):
        """Sends it, if there is a connection that `is_new` has told of; whether there is."""
        is_taken = self.is_connected and bool(self.socket.poll(0, zmq.POLLOUT))
        if is_taken:
            self.socket.send_multipart(frames)
        return is_taken

    def is_new(self):
        """Whether a connection was made since this was asked last."""
        is_new = False
        while self.monitor.poll(0):
            is_new = self.heard(self.monitor.recv_multipart())
        return is_new

    def received(self):
        """What has come, without waiting."""
        while self.socket.poll(0):
            yield self.socket.recv_multipart()
