// MUB1 without sockets: frames, and which request an answer is for.
import { randomUUID } from "node:crypto";

import { CallFailed, MubrokerError, Reject, rejected } from "./errors.js";

export const CLIENTS = "tcp://127.0.0.1:5555";
export const WORKERS = "tcp://127.0.0.1:5556";
export const VERSION = "0.1.0";
/** Bytes of a stack that operators get. With code and message it is within the broker's 8 KiB. */
const MAX_DETAIL = 4000;
/** Bytes of a note, an alert, or an error's message: what the broker keeps of them. */
const MAX_NOTE = 1024;
/** Bytes of a payload that the broker takes. */
const MAX_PAYLOAD = 16 * 1024 * 1024;

export const pack = (verb, header, ...payload) => ["MUB1", verb, JSON.stringify(header), ...payload];

/** Verb, header and the frames after it. */
export function unpack([magic, verb, header, ...payload]) {
  if (magic?.toString() !== "MUB1" || !verb) {
    throw new MubrokerError(`this is not MUB1: ${magic}; is it the broker's address?`);
  }
  const read = header?.length ? JSON.parse(header.toString()) : {};
  if (typeof read !== "object" || !read) throw new MubrokerError(`the broker's ${verb} can't be read: its header is no object`);
  return { verb: verb.toString(), header: read, payload };
}

/** The first so many bytes of a text, as text that has UTF-8; of half a character nothing. */
export function cut(text, most) {
  const bytes = Buffer.from(String(text));
  let end = Math.min(most, bytes.length);
  while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}

/** Whole ms, as the broker takes them. */
export const ms = (time) => (typeof time === "number" ? Math.max(0, Math.round(time)) : undefined);

/** Bytes are copied, since they may be sent again when the caller has long changed them; text is UTF-8; anything else becomes JSON. */
export function toBytes(payload) {
  if (payload instanceof Uint8Array) return Buffer.from(payload);
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
  const ids = [...new Set(pairs.map(([header]) => header.id))];
  return { verb: "SENDMANY", id: ids[0], ids, frames: ["MUB1", "SENDMANY", ...frames], read: (header) => header.accepted };
}

export function call(queue, payload, { timeout = 30_000, onPart, ...header }) {
  const where = { queue, timeout_ms: ms(timeout), ...(onPart ? { parts: true } : {}), ...header };
  const request = message("CALL", where, payload, (answer, [reply]) => {
    if (answer.status !== "ok") throw new CallFailed(answer);
    return withJson({ id: answer.id, payload: reply ?? Buffer.alloc(0) });
  });
  return { ...request, onPart, beside: timeout };
}

export function gather(payload, { timeout = 30_000, ...header }) {
  const { gather, aggregate } = header;
  const request = message("GATHER", { timeout_ms: ms(timeout), ...header }, payload, (answer, replies) => {
    // With reply_to it is only accepted.
    if ("recipients" in answer) return answer;
    const { parts: queues = [], ...rest } = answer;
    // What a configured gather does only the broker knows; the number of frames tells it, unless one queue has replied.
    const isUnknown = gather !== undefined && aggregate === undefined;
    if (aggregate === "object" || (isUnknown && replies.length === 1 && queues.length !== 1)) return { ...rest, queues, merged: replies[0] };
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

/** What a refusal may name. */
const idsOf = ({ id, ids }) => ids ?? [id];

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
    for (const id of idsOf(request)) this.#byId.set(id, [...(this.#byId.get(id) ?? []), request]);
  }

  drop(request) {
    if (!this.#requests.delete(request)) return;
    for (const id of idsOf(request)) {
      const same = this.#byId.get(id).filter((one) => one !== request);
      if (same.length) this.#byId.set(id, same);
      else this.#byId.delete(id);
    }
  }

  /** Ends the request that this answers. What nobody waits for (any more) is passed over. */
  take(frames) {
    const { verb, header, payload } = unpack(frames);
    const request = this.#find(verb, header);
    if (!request) return;
    if (verb === "REPLY" && header.status === "part") {
      this.#part(request, payload[0]);
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

  /** What onPart throws, at once or later, is its caller's mistake, and nobody else's. */
  async #part(request, part) {
    try {
      await request.onPart?.(part);
    } catch (error) {
      this.drop(request);
      request.reject(error);
    }
  }

  #find(verb, header) {
    if (verb === "REJECTED") return this.#refused(header.id ?? undefined);
    const withId = (id, fits) => this.#byId.get(id)?.find(fits);
    if (header.accepted) return withId(header.accepted[0].id, (one) => one.verb === "SENDMANY");
    const hasId = verb === "ACCEPTED" || verb === "REPLY" || verb === "STATUS";
    return withId(hasId ? header.id : undefined, (one) => one.verb !== "SENDMANY" && ANSWERS[verb]?.includes(one.verb));
  }

  #refused(id) {
    const found = this.#byId.get(id)?.[0];
    if (found || id !== undefined) return found;
    // It names nothing: a SENDMANY as a whole, or what couldn't be read, which is known only where there is nothing else.
    const all = [...this.#requests];
    return all.find((one) => one.verb === "SENDMANY") ?? (all.length === 1 ? all[0] : undefined);
  }
}

const withJson = (what) => Object.defineProperty(what, "json", { value: () => JSON.parse(what.payload.toString()) });

/** What a worker is given: the message's header, its bytes, and what may be said while it is worked on. */
export function delivered(header, payload, say, raise) {
  const { delivery, id, queue, seq, attempt } = header;
  const told = (...said) => what.isForgotten || say(pack(...said));
  const what = withJson({
    delivery, id, queue, seq, attempt, header, payload,
    /** The broker has given it to somebody else or ended it: what the handler returns is not counted any more. */
    isStale: false,
    /** The broker doesn't know us as who was given it: nothing is said of it any more. */
    isForgotten: false,
    progress: (note, extend) => void told("PROGRESS", { delivery, note: cut(note, MAX_NOTE), extend_ms: ms(extend) }),
    part: (bytes) => void told("PARTIAL", { delivery }, toBytes(bytes)),
    alert: (kind, text) => void raise(pack("ALERT", { kind: cut(kind, MAX_NOTE), message: cut(text, MAX_NOTE), delivery })),
  });
  return what;
}

export function ack({ delivery }, reply) {
  const bytes = reply == null ? Buffer.alloc(0) : toBytes(reply);
  // Refused it would never be counted, and the message would be held.
  if (bytes.length > MAX_PAYLOAD) throw new RangeError(`the reply has ${bytes.length} bytes, ${MAX_PAYLOAD} are allowed`);
  return pack("ACK", { delivery }, bytes);
}

/** `error` is what a handler threw: the operator sees its message, and its stack. It never throws: what isn't told would be held. */
export function nack({ delivery }, error) {
  try {
    return pack("NACK", { delivery, ...refusal(error) });
  } catch {
    return pack("NACK", { delivery, error: { code: "Error", message: "what was thrown can't be told" }, action: "retry" });
  }
}

function refusal(error) {
  const own = error instanceof Reject;
  const said = { code: (own ? error.code : error?.name) ?? "Error", message: error?.message || String(error) };
  const detail = own ? error.detail : error?.stack;
  const { action, delay } = own ? error : { action: "retry" };
  const texts = { code: cut(said.code, MAX_NOTE), message: cut(said.message, MAX_NOTE) };
  return { error: { ...texts, detail: detail == null ? undefined : cut(detail, MAX_DETAIL) }, action, delay_ms: ms(delay) };
}
