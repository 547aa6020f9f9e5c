// The worker: calls a function for each message.
import { hostname } from "node:os";
import { basename } from "node:path";

import * as wire from "./wire.js";
import { rejected } from "./errors.js";
import { Link } from "./link.js";

/** A lease is extended so many times while it lasts: one may be late or lost. */
const EXTENSIONS = 3;
/** How often it is looked at what nothing tells of, in ms. */
const TICK = 500;
/** Without a frame for so long, in ms, the broker is gone. It says something every 2.5 s. */
const SILENCE = 7_500;
/** Alerts that wait for a connection, the newest. */
const MAX_ALERTS = 16;

/**
 * Takes messages of some queues, and calls `async handler(message)`, up to `credit` at once. What it returns is the reply (bytes, text, what
 * becomes JSON, or nothing); what it throws is a failed attempt: `Reject` says what is to happen, anything else is retried or
 * blocks as the queue's settings say. A message may come twice: let the handler know it by its `id`. Leases are extended while it runs, for
 * `maxExecution` ms at most if that is given. Lost connections are made again.
 */
export class Worker {
  #handler;
  #address;
  #ready;
  #maxExecution;
  /** By delivery: the message, when it began, how long its lease lasts. */
  #held = new Map();
  #link;
  #heard = 0;
  #isLeaving = false;
  #isOver = false;
  /** Something else than a refusal was heard since READY: what is refused now is not READY. */
  #isTaken = false;
  #end = () => {};
  #again;
  #alerts = [];

  constructor(queues, handler, { address = wire.WORKERS, credit = 1, name, maxExecution } = {}) {
    const worker = { name: name ?? basename(process.argv[1] ?? "node"), pid: process.pid, host: hostname(), version: wire.VERSION };
    this.#ready = { queues: [queues].flat(), credit, worker: { ...worker, max_execution_ms: wire.ms(maxExecution) } };
    this.#handler = handler;
    this.#address = address;
    this.#maxExecution = maxExecution;
  }

  /** Works until `stop()` or until the broker asks it to leave; resolves when what ran is finished and told. With `{signals: true}` SIGTERM and SIGINT stop it. */
  async run({ signals = false } = {}) {
    if (this.#isLeaving) return;
    const stop = () => this.stop();
    const names = signals ? ["SIGTERM", "SIGINT"] : [];
    names.forEach((name) => process.on(name, stop));
    const over = new Promise((resolve, reject) => {
      this.#end = (error) => (error ? reject(error) : resolve());
    });
    this.#heard = performance.now();
    this.#link = new Link(this.#address, (frames) => this.#hear(frames), () => this.#introduce());
    const clock = setInterval(() => this.#tick(), TICK);
    try {
      await over;
    } finally {
      clearInterval(clock);
      clearTimeout(this.#again);
      this.#link.close();
      names.forEach((name) => process.off(name, stop));
    }
  }

  /** Take nothing more, finish what runs. */
  stop() {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#link?.offer(wire.pack("BYE", {}));
    this.#look();
  }

  #introduce() {
    this.#heard = performance.now();
    this.#isTaken = false;
    this.#again = undefined;
    this.#link.offer(this.#isLeaving ? wire.pack("BYE", {}) : wire.pack("READY", this.#ready));
    this.#raise();
  }

  /** Says an alert, and those that waited; without a broker that knows us they wait. */
  #raise(alert) {
    if (alert) this.#alerts.push(alert);
    if (this.#alerts.length > MAX_ALERTS) this.#alerts.shift();
    while (this.#alerts.length && this.#again === undefined && this.#link.offer(this.#alerts[0])) this.#alerts.shift();
  }

  #hear(frames) {
    try {
      this.#take(wire.unpack(frames));
    } catch (error) {
      // A READY that is refused, or somebody who isn't the broker; later one frame, and not all that come after it.
      if (!this.#isTaken) this.#end(error);
      else process.emitWarning(`the broker refused something, or can't be understood: ${error.message}`, "MubrokerWarning");
    }
    this.#look();
  }

  #take({ verb, header, payload }) {
    this.#heard = performance.now();
    this.#isTaken ||= verb !== "REJECTED";
    if (verb === "DELIVER") {
      const message = wire.delivered(header, payload[0] ?? Buffer.alloc(0), (said) => this.#link.offer(said), (alert) => this.#raise(alert));
      this.#work(message, header.deadline_ms);
    } else if (verb === "HEARTBEAT") {
      this.#link.offer(wire.pack("HEARTBEAT", {}));
    } else if (verb === "STALE") {
      const held = this.#held.get(header.delivery);
      if (held) held.message.isStale = true;
    } else if (verb === "DRAIN" || verb === "RESTART") {
      this.stop();
    } else if (verb === "BYE" && this.#isLeaving) {
      this.#isOver = true;
    } else if (verb === "BYE") {
      // It has forgotten us: its store was opened again, or it took us for dead.
      for (const { message } of this.#held.values()) message.isStale = message.isForgotten = true;
      this.#again = setTimeout(() => this.#introduce(), TICK);
    } else if (verb === "REJECTED") {
      throw rejected(header);
    }
  }

  async #work(message, lease) {
    const held = { message, began: performance.now(), lease };
    this.#held.set(message.delivery, held);
    const clock = setInterval(() => this.#extend(held), lease / EXTENSIONS);
    let said;
    try {
      said = wire.ack(message, await this.#handler(message));
    } catch (error) {
      said = wire.nack(message, error);
    }
    clearInterval(clock);
    this.#held.delete(message.delivery);
    // A stale one too: the broker keeps its place in our credit until it is told.
    if (!message.isForgotten) this.#link.offer(said);
    this.#look();
  }

  /** Is it over? Without a connection nobody waits for us. */
  #look() {
    if (this.#isLeaving && !this.#held.size && (this.#isOver || !this.#link?.isConnected)) this.#end();
  }

  #extend({ message, began, lease }) {
    const left = this.#maxExecution === undefined ? Infinity : began + this.#maxExecution - performance.now();
    if (message.isStale || left <= 0) return;
    this.#link.offer(wire.pack("PROGRESS", { delivery: message.delivery, extend_ms: wire.ms(Math.min(lease, left)), note: "" }));
  }

  #tick() {
    const now = performance.now();
    if (now - this.#heard > SILENCE) {
      this.#heard = now;
      this.#link.renew();
    }
    this.#look();
  }
}
