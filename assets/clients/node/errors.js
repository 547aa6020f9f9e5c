// What can go wrong, as types.

export class MubrokerError extends Error {
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}

/** Nothing was heard in time. The broker may have taken the message all the same: send it again with the same `id`. */
export class NoAnswer extends MubrokerError {
  constructor(verb, id, ms) {
    super(`no answer to ${verb} within ${ms} ms${id ? `, id ${id}` : ""}`);
    Object.assign(this, { verb, id });
  }
}

/** The client was closed while the request was under way. */
export class Closed extends MubrokerError {}

/** A call that ended without a reply: `status` is `failed`, `timeout` or `blocked`, `error` the worker's `{code, message, detail}`. */
export class CallFailed extends MubrokerError {
  constructor({ id, status, error }) {
    super(`the call ${id} ended as ${status}${error?.message ? `: ${error.message}` : ""}`);
    Object.assign(this, { id, status, error });
  }
}

/** The broker refused a request: `code`, `message` (what, where, what to do), `id`, and `retryAfter` in ms if it may be better then. */
export class Rejected extends MubrokerError {
  constructor({ code, reason, id, retry_after_ms: retryAfter }) {
    super(reason ?? "no reason was given");
    Object.assign(this, { code, id, retryAfter });
  }
}

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

const BY_CODE = {
  malformed: Malformed, unsupported: Unsupported, unauthorized: Unauthorized, forbidden: Forbidden,
  no_such_queue: NoSuchQueue, too_large: TooLarge, schema: SchemaMismatch, full: Full, busy: Busy, expired: Expired,
  draining: Draining, unroutable: Unroutable, store_unavailable: StoreUnavailable, internal: Internal,
};

/** The error for the header of a REJECTED. */
export const rejected = (header) => new (BY_CODE[header.code] ?? Rejected)(header);

const ACTIONS = ["retry", "block", "dead-letter"];

/** Thrown by a worker's handler: this message can't be done. `action` is `retry`, `block` or `dead-letter`, `delay` the pause in ms. */
export class Reject extends Error {
  constructor(message, { code = "rejected", detail, action = "retry", delay } = {}) {
    super(message);
    if (!ACTIONS.includes(action)) throw new RangeError(`the action ${action} is none of ${ACTIONS.join(", ")}`);
    Object.assign(this, { name: "Reject", code, detail, action, delay });
  }
}
