/** Bytes as they are, text as UTF-8, anything else as JSON. */
export type Payload = Uint8Array | string | number | boolean | object | null;

/** Fields of the message's header; see the protocol. */
export interface Header {
  id?: string;
  type?: string;
  source?: string;
  time?: string;
  content_type?: string;
  key?: string;
  correlation_id?: string;
  causation_id?: string;
  reply_to?: string;
  priority?: number;
  ttl_ms?: number;
  delay_ms?: number;
  deliver_at?: string;
  max_attempts?: number;
  max_execution_ms?: number;
  traceparent?: string;
  tracestate?: string;
  headers?: Record<string, unknown>;
  [other: string]: unknown;
}

export interface WorkError { code: string; message: string; detail?: string }
export interface Accepted { id: string; queue: string; seq: number; duplicate: boolean }
export interface Published { id: string; topic: string; queues: number; duplicate?: boolean }
export interface Started { id: string; saga: string; duplicate?: boolean }
export interface Reply { id: string; payload: Buffer; json(): any }
export interface Missing { queue: string; seq: number; code: string; message: string }
export interface Gathered {
  id: string;
  status: "complete" | "quorum" | "partial";
  /** Who has replied, in the recipients' order. */
  queues: string[];
  /** Replies by queue. */
  parts?: Record<string, Buffer>;
  /** With `aggregate = "object"`: all replies in one. Whether a configured gather aggregates only the broker knows: unless the request says it,
   * the one reply of the one queue is in `parts`. */
  merged?: Buffer;
  missing: Missing[];
}
/** With `reply_to`: it is durable, so many are asked, and what they say comes to that queue. */
export interface GatherAccepted { id: string; recipients: number; duplicate: boolean }
export interface Status { id: string; state: string; queue: string; seq: number; attempt: number; error?: WorkError; reply?: Buffer }

export type GatherOptions = Header & { recipients?: string[]; gather?: string; aggregate?: "list" | "object"; timeout?: number };

export class Client {
  constructor(address?: string, options?: { timeout?: number; window?: number });
  send(queue: string, payload: Payload, header?: Header): Promise<Accepted>;
  sendMany(messages: (Header & { queue: string; payload?: Payload })[]): Promise<Accepted[]>;
  publish(topic: string, payload: Payload, header?: Header): Promise<Published>;
  call(queue: string, payload: Payload, options?: Header & { timeout?: number; onPart?: (part: Buffer) => void }): Promise<Reply>;
  gather(payload: Payload, options: GatherOptions & { reply_to: string }): Promise<GatherAccepted>;
  gather(payload: Payload, options: GatherOptions): Promise<Gathered>;
  start(saga: string, payload: Payload, header?: Header): Promise<Started>;
  status(id: string, options?: { queue?: string; withReply?: boolean }): Promise<Status>;
  subscribe(topic: string, queue: string, options?: { filter?: string; onError?: string }): Promise<void>;
  unsubscribe(topic: string, queue: string): Promise<void>;
  ping(): Promise<void>;
  hello(): Promise<{ server: string; version: string; limits: Record<string, number>; may: string[] }>;
  close(): void;
}

export interface Message {
  delivery: string;
  id: string;
  queue: string;
  seq: number;
  attempt: number;
  header: Header;
  payload: Buffer;
  /** The broker has given it to somebody else or ended it: what the handler returns is not counted any more. */
  isStale: boolean;
  json(): any;
  /** For operators; `extend`: the lease lasts so many ms from now. */
  progress(note: string, extend?: number): void;
  /** A part of the reply, for callers that asked for parts. */
  part(payload: Payload): void;
  alert(kind: string, text: string): void;
}

export class Worker {
  constructor(
    queues: string | string[],
    handler: (message: Message) => Payload | void | Promise<Payload | void>,
    options?: { address?: string; credit?: number; name?: string; maxExecution?: number },
  );
  run(options?: { signals?: boolean }): Promise<void>;
  stop(): void;
}

export const VERSION: string;

export class MubrokerError extends Error {}
export class NoAnswer extends MubrokerError { verb: string; id?: string }
export class Closed extends MubrokerError {}
export class CallFailed extends MubrokerError { id: string; status: "failed" | "timeout" | "blocked"; error?: WorkError }
export class Rejected extends MubrokerError { code: string; id?: string; retryAfter?: number }
export class Malformed extends Rejected {}
export class Unsupported extends Rejected {}
export class Unauthorized extends Rejected {}
export class Forbidden extends Rejected {}
export class NoSuchQueue extends Rejected {}
export class TooLarge extends Rejected {}
export class SchemaMismatch extends Rejected {}
export class Full extends Rejected {}
export class Busy extends Rejected {}
export class Expired extends Rejected {}
export class Draining extends Rejected {}
export class Unroutable extends Rejected {}
export class StoreUnavailable extends Rejected {}
export class Internal extends Rejected {}
export class Reject extends Error {
  constructor(message: string, options?: { code?: string; detail?: string; action?: "retry" | "block" | "dead-letter"; delay?: number });
}
