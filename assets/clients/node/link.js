// A DEALER's connection, and what becomes of it.
import { Dealer } from "zeromq";

/** Connects again by itself. What is offered while it isn't connected is not kept: whoever offers knows what must be said on a new connection. */
export class Link {
  isConnected = false;
  #address;
  #onFrames;
  #onConnection;
  #socket;

  constructor(address, onFrames, onConnection) {
    this.#address = address;
    this.#onFrames = onFrames;
    this.#onConnection = onConnection;
    this.#open();
  }

  #open() {
    const socket = new Dealer({
      linger: 1000,
      // What is under way is bounded by who asks; and nothing waits for a connection that may never come.
      sendHighWaterMark: 0,
      receiveHighWaterMark: 0,
      immediate: true,
      sendTimeout: 0,
      reconnectInterval: 100,
      reconnectMaxInterval: 2000,
    });
    this.#socket = socket;
    socket.events.on("handshake", () => {
      if (socket !== this.#socket) return;
      this.isConnected = true;
      this.#onConnection();
    });
    socket.events.on("disconnect", () => {
      if (socket === this.#socket) this.isConnected = false;
    });
    socket.connect(this.#address);
    this.#listen(socket);
  }

  async #listen(socket) {
    try {
      for await (const frames of socket) {
        if (socket !== this.#socket) return;
        try {
          this.#onFrames(frames);
        } catch (error) {
          // One frame, and not all that come after it.
          process.emitWarning(`what the broker said is passed over: ${error.message}`, "MubrokerWarning");
        }
      }
    } catch (error) {
      if (!socket.closed) throw error;
    }
  }

  /** Sends it, if there is a connection that was told of; whether there is. */
  offer(frames) {
    if (!this.isConnected || this.#socket.closed) return false;
    // It has gone, or it fails at once because the connection has just ended: a new one will tell.
    this.#socket.send(frames).catch(() => {});
    return true;
  }

  /** Another connection, since nothing is heard through this one. */
  renew() {
    this.close();
    this.#open();
  }

  close() {
    this.isConnected = false;
    if (!this.#socket.closed) this.#socket.close();
  }

  get isClosed() {
    return this.#socket.closed;
  }
}
