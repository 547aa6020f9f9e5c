// MUB1 without sockets: frames, and which request an answer is for.
import { randomUUID } from "node:crypto";

import { CallFailed, MubrokerError, Reject, rejected } from "./errors.js";

export const CLIENTS = "tcp://127.0.0.1:5555";
export const WORKERS = "tcp://127.0.0.1:5556";
export const VERSION = "0.1.0";
/** Characters of a stack that operators get. */
const MAX_DETAIL = 4000;

export const pack = (verb, header, ...payload) => ["MUB1", verb, JSON.stringify(header), ...payload];

/** Verb, header and the frames after it. */
export function unpack([magic, verb, header, ...payload]) {
  if (magic?.toString() !== "MUB1" || !verb) {
    throw new MubrokerError(`this is not MUB1: ${magic}; is it the broker's address?`);
  }
  return { verb: verb.toString(), header: header?.length ? JSON.parse(header.toString()) : {}, payload };
}

/** Bytes stay as they are; text is UTF-8; anything else becomes JSON. */
export function toBytes(payload) {
  if (Buffer.isBuffer(payload)) return payload;
  if (payload instanceof Uint8Array) return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  return Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload ?? null));
}

const plain = (header) => header;
// An id of ours: sent again after a lost connection the message is still there once.
const message = (verb, header, payload, read) => {
  const whole = { id: randomUUID(), ...header };
  return { verb, id: whole.id, frames: pack(verb, whole, toBytes(payload)), read };
};

export const send = (queue, payload, header) => message("SEND", { queue, ...header }, payload, plain);
export const publish = (topic, payload, header) => message("PUBLISH", { topic, ...header }, payload, plain);
export const start = (saga, payload, header) => message("START", { saga, ...header }, payload, plain);

export function sendMany(messages) {
  const pairs = messages.map(({ payload, ...header }) => [{ id: randomUUID(), ...header }, toBytes(payload ?? "")]);
  if (!pairs.length) throw new TypeError("sendMany needs at least one message");
  const frames = pairs.flatMap(([header, payload]) => [JSON.stringify(header), payload]);
  return { verb: "SENDMANY", id: pairs[0][0].id, frames: ["MUB1", "SENDMANY", ...frames], read: (header) => header.accepted };
}

export function call(queue, payload, { timeout = 30_000, onPart, ...header }) {
  const where = { queue, timeout_ms: timeout, ...(onPart ? { parts: true } : {}), ...header };
  const request = message("CALL", where, payload, (answer, [reply]) => {
    if (answer.status !== "ok") throw new CallFailed(answer);
    return withJson({ id: answer.id, payload: reply ?? Buffer.alloc(0) });
  });
  return { ...request, onPart, beside: timeout };
}

export function gather(payload, { timeout = 30_000, ...header }) {
  const request = message("GATHER", { timeout_ms: timeout, ...header }, payload, (answer, replies) => {
    const { parts: queues = [], ...rest } = answer;
    if (replies.length !== queues.length) return { ...rest, queues, merged: replies[0] };
    return { ...rest, queues, parts: Object.fromEntries(queues.map((queue, at) => [queue, replies[at]])) };
  });
  return { ...request, beside: timeout };
}

export const status = (id, { queue, withReply } = {}) => ({
  verb: "STATUS",
  id,
  frames: pack("STATUS", { id, queue, ...(withReply ? { reply: true } : {}) }),
  read: (header, [reply]) => ({ ...header, reply }),
});

const simple = (verb, header, read = () => undefined) => ({ verb, frames: pack(verb, header), read });
export const subscribe = (topic, queue, { filter, onError } = {}) =>
  simple("SUBSCRIBE", { topic, queue, filter, on_error: onError });
export const unsubscribe = (topic, queue) => simple("UNSUBSCRIBE", { topic, queue });
export const ping = () => simple("PING", {});
export const hello = () => simple("HELLO", { client: "mubroker-node", version: VERSION }, plain);

/** Which requests an answer may be for. */
const ANSWERS = {
  ACCEPTED: ["SEND", "SENDMANY", "PUBLISH", "START", "GATHER"],
  REPLY: ["CALL", "GATHER"],
  STATUS: ["STATUS"],
  SUBSCRIBED: ["SUBSCRIBE"],
  UNSUBSCRIBED: ["UNSUBSCRIBE"],
  PONG: ["PING"],
  WELCOME: ["HELLO"],
};

/** Requests under way, the oldest first. */
export class Pending {
  #requests = new Set();
  #byId = new Map();

  get size() {
    return this.#requests.size;
  }

  [Symbol.iterator]() {
    return [...this.#requests][Symbol.iterator]();
  }

  add(request) {
    this.#requests.add(request);
    this.#byId.set(request.id, [...(this.#byId.get(request.id) ?? []), request]);
  }

  drop(request) {
    if (!this.#requests.delete(request)) return;
    const same = this.#byId.get(request.id).filter((one) => one !== request);
    if (same.length) this.#byId.set(request.id, same);
    else this.#byId.delete(request.id);
  }

  /** Ends the request that this answers. What nobody waits for (any more) is passed over. */
  take(frames) {
    const { verb, header, payload } = unpack(frames);
    const request = this.#find(verb, header);
    if (!request) return;
    if (verb === "REPLY" && header.status === "part") {
      request.onPart?.(payload[0]);
      return;
    }
    this.drop(request);
    try {
      if (verb === "REJECTED") throw rejected(header);
      request.resolve(request.read(header, payload));
    } catch (error) {
      request.reject(error);
    }
  }

  #find(verb, header) {
    const withId = (id, fits) => this.#byId.get(id)?.find(fits);
    if (verb === "REJECTED") {
      // One that names no message, or a further one of a SENDMANY, is for the oldest that it can be for.
      const fits = header.id ? (one) => one.verb === "SENDMANY" : () => true;
      return withId(header.id, () => true) ?? [...this.#requests].find(fits);
    }
    const hasId = verb === "ACCEPTED" || verb === "REPLY" || verb === "STATUS";
    return withId(hasId ? header.accepted?.[0].id ?? header.id : undefined, (one) => ANSWERS[verb]?.includes(one.verb));
  }
}

const withJson = (what) => Object.defineProperty(what, "json", { value: () => JSON.parse(what.payload.toString()) });

/** What a worker is given: the message's header, its bytes, and what may be said while it is worked on. */
export function delivered(header, payload, say) {
  const { delivery, id, queue, seq, attempt } = header;
  return withJson({
    delivery, id, queue, seq, attempt, header, payload,
    /** The broker has given it to somebody else or ended it: what the handler returns is not counted any more. */
    isStale: false,
    progress: (note, extend) => say(pack("PROGRESS", { delivery, note, extend_ms: extend })),
    part: (bytes) => say(pack("PARTIAL", { delivery }, toBytes(bytes))),
    alert: (kind, text) => say(pack("ALERT", { kind, message: text, delivery })),
  });
}

export const ack = ({ delivery }, reply) => pack("ACK", { delivery }, reply == null ? Buffer.alloc(0) : toBytes(reply));

/** `error` is what a handler threw: the operator sees its message, and its stack. */
export function nack({ delivery }, error) {
  const own = error instanceof Reject;
  const said = { code: own ? error.code : error?.name ?? "Error", message: error?.message || String(error) };
  const detail = own ? error.detail : error?.stack?.slice(0, MAX_DETAIL);
  const { action, delay } = own ? error : { action: "retry" };
  return pack("NACK", { delivery, error: { ...said, detail }, action, delay_ms: delay });
}
