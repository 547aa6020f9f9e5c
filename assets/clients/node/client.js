// The client: sends messages and waits until they are durable.
import * as wire from "./wire.js";
import { Closed, NoAnswer } from "./errors.js";
import { Link } from "./link.js";

/** Without an answer for so long, in ms, a request is sent again. With its id it is done once. */
const AGAIN = 5_000;

/**
 * A connection to the broker. Lost, it is made again, and what was under way is sent again with its id: it is there once, as far as the
 * queue's de-duplication window reaches. At most `window` requests are under way, further ones wait. After `timeout` ms without an answer
 * (beside what a call itself waits) a request fails as NoAnswer.
 */
export class Client {
  #pending = new wire.Pending();
  #waiting = [];
  #link;
  #clock;

  constructor(address = wire.CLIENTS, { timeout = 30_000, window = 1000 } = {}) {
    Object.assign(this, { timeout, window });
    this.#link = new Link(address, (frames) => this.#take(frames), () => this.#sendAgain(0));
    this.#clock = setInterval(() => this.#sendAgain(AGAIN), AGAIN / 5);
  }

  /** Resolves to `{id, queue, seq, duplicate}` once the message is durable. `header` has the protocol's fields: `id`, `key`, `delay_ms` … */
  send(queue, payload, header = {}) {
    return this.#ask(wire.send(queue, payload, header));
  }

  /** All or none, in one commit: `{queue, payload, …}` each; a list in the same order. */
  sendMany(messages) {
    return this.#ask(wire.sendMany(messages));
  }

  /** An event for all subscriptions that take it: `{id, topic, queues}`. */
  publish(topic, payload, header = {}) {
    return this.#ask(wire.publish(topic, payload, header));
  }

  /** Waits for the worker's reply, `{id, payload, json()}`; CallFailed if it ends otherwise. `{timeout, onPart, …header}`. */
  call(queue, payload, options = {}) {
    return this.#ask(wire.call(queue, payload, options));
  }

  /** Asks several queues: `{recipients | gather, timeout, complete, …header}`; `{status, parts, missing}` at the end, or, with `reply_to`, `{id, recipients, duplicate}`. */
  gather(payload, options) {
    return this.#ask(wire.gather(payload, options));
  }

  /** Starts a saga: `{id, saga}` once it is durable. */
  start(saga, payload, header = {}) {
    return this.#ask(wire.start(saga, payload, header));
  }

  /** Where a message is: `{state, queue, seq, attempt, error}`; with `{withReply: true}` also the reply that was kept. */
  status(id, options) {
    return this.#ask(wire.status(id, options));
  }

  /** From now on the queue gets the topic's events that `{filter}` lets through. */
  subscribe(topic, queue, options) {
    return this.#ask(wire.subscribe(topic, queue, options));
  }

  unsubscribe(topic, queue) {
    return this.#ask(wire.unsubscribe(topic, queue));
  }

  ping() {
    return this.#ask(wire.ping());
  }

  /** The broker's version and limits. */
  hello() {
    return this.#ask(wire.hello());
  }

  /** What is under way fails as Closed. */
  close() {
    clearInterval(this.#clock);
    this.#link.close();
    for (const request of [...this.#pending, ...this.#waiting.splice(0)]) {
      this.#end(request);
      request.reject(new Closed("the client was closed"));
    }
  }

  async #ask(request) {
    if (this.#link.isClosed) throw new Closed("the client is closed");
    const answer = new Promise((resolve, reject) => Object.assign(request, { resolve, reject }));
    if (this.#pending.size < this.window) this.#begin(request);
    else this.#waiting.push(request);
    try {
      return await answer;
    } finally {
      this.#end(request);
    }
  }

  #begin(request) {
    this.#pending.add(request);
    const ms = this.timeout + (request.beside ?? 0);
    request.clock = setTimeout(() => {
      this.#end(request);
      request.reject(new NoAnswer(request.verb, request.id, ms));
    }, ms);
    this.#offer(request);
  }

  #end(request) {
    clearTimeout(request.clock);
    this.#pending.drop(request);
    while (this.#waiting.length && this.#pending.size < this.window) this.#begin(this.#waiting.shift());
  }

  #offer(request) {
    request.sentAt = performance.now();
    this.#link.offer(request.frames);
  }

  #take(frames) {
    this.#pending.take(frames);
  }

  #sendAgain(after) {
    const before = performance.now() - after;
    for (const request of this.#pending) if (request.sentAt <= before) this.#offer(request);
  }
}
