// mubroker from Node: durable queues, calls, events, gathers and sagas; see README.md.
export { Client } from "./client.js";
export { Worker } from "./worker.js";
export * from "./errors.js";
export { VERSION } from "./wire.js";
