// The Node library in assets/clients/node against a running broker, a part at a time:
//   node --preserve-symlinks library.mjs PART CLIENTS WORKERS
// Prints "ok" at its end. A part says on a line of its own what is to be done with the broker, and waits for a line that says it is done.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { Router } from "zeromq";

import * as mubroker from "mubroker";
// What it doesn't export.
import * as wire from "./node_modules/mubroker/wire.js";

const [part, clients, workers] = process.argv.slice(2);
const { Client, Worker, Reject } = mubroker;
const timeout = 60_000;
const client = new Client(clients, { timeout, window: 100 });

const ask = async (what) => {
  const lines = createInterface({ input: process.stdin });
  console.log(what);
  await once(lines, "line");
  lines.close();
};

/** A worker while `use` runs; what it was given is in `given`, and `until` waits for so many. */
const working = async (queues, handler, options, use) => {
  const given = [];
  let look = () => {};
  const until = (count) => new Promise((resolve) => {
    look = () => given.length >= count && resolve();
    look();
  });
  const worker = new Worker(queues, (message) => {
    given.push(message);
    look();
    return handler(message);
  }, { address: workers, ...options });
  const running = worker.run();
  await use({ given, until, worker });
  worker.stop();
  await running;
};

const parts = {
  async verbs() {
    await client.ping();
    assert.equal((await client.hello()).server, "mubroker");
    assert.deepEqual(await client.send("q", { price: 1.5 }, { id: "one" }), { id: "one", queue: "q", seq: 1, duplicate: false });
    assert.ok((await client.send("q", "again", { id: "one" })).duplicate);
    const many = await client.sendMany([{ queue: "q", payload: Buffer.from([0, 255]) }, { queue: "q" }]);
    assert.deepEqual(many.map((one) => one.seq), [2, 3]);
    assert.equal((await client.status("one")).state, "ready");
    await client.subscribe("order.created", "billing", { filter: "body.total > 10" });
    assert.equal((await client.publish("order.created", { total: 11 })).queues, 1);
    assert.equal((await client.publish("order.created", { total: 9 })).queues, 0);
    await client.unsubscribe("order.created", "billing");
  },

  async errors() {
    await client.send("small", "a");
    await assert.rejects(client.send("small", "b", { id: "b" }), (error) => {
      assert.ok(error instanceof mubroker.Full && error instanceof mubroker.Rejected);
      assert.deepEqual([error.code, error.id], ["full", "b"]);
      return error.retryAfter > 0;
    });
    await assert.rejects(client.send("else", "a"), mubroker.NoSuchQueue);
    await assert.rejects(client.sendMany([{ queue: "small" }, { queue: "not a name" }]), mubroker.Malformed);
    await ask("kill");
    const other = new Client(clients, { timeout: 200 });
    await assert.rejects(other.send("small", "a", { id: "x" }), (error) => error instanceof mubroker.NoAnswer && error.id === "x");
    const unanswered = assert.rejects(client.ping(), mubroker.Closed);
    client.close();
    other.close();
    await unanswered;
    await assert.rejects(client.ping(), mubroker.Closed);
  },

  async calls() {
    const work = (message) => {
      if (message.payload.toString() === "bad") throw new RangeError("no such thing");
      if (message.payload.toString() === "dead") throw new Reject("never", { code: "hopeless", action: "dead-letter" });
      message.progress("half done");
      message.part("half");
      return { double: message.json() * 2 };
    };
    await working(["q", "dead"], work, {}, async () => {
      const heard = [];
      const reply = await client.call("q", 21, { onPart: (bytes) => heard.push(bytes.toString()) });
      assert.deepEqual([reply.json(), heard], [{ double: 42 }, ["half"]]);
      await assert.rejects(client.call("dead", "dead"), (error) => error.status === "failed" && error.error.detail === "hopeless: never");
      await assert.rejects(client.call("q", "bad"), (error) => {
        assert.ok(error instanceof mubroker.CallFailed);
        assert.deepEqual([error.status, error.error.code], ["blocked", "RangeError"]);
        return error.error.detail.includes("no such thing");
      });
    });
    const trace = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "rojo=1" };
    await working(["traced"], ({ header }) => ({ traceparent: header.traceparent, tracestate: header.tracestate }), {}, async () => {
      assert.deepEqual((await client.call("traced", 1, trace)).json(), trace);
    });
    await working(["a", "b"], (message) => ({ [message.queue]: 1 }), { credit: 2 }, async () => {
      const all = await client.gather({}, { recipients: ["a", "b"] });
      assert.deepEqual([all.status, all.parts.a.toString()], ["complete", '{"a":1}']);
      const some = await client.gather({}, { recipients: ["a", "c"], timeout: 300 });
      assert.deepEqual([some.status, some.missing.map((one) => one.queue)], ["partial", ["c"]]);
      assert.equal((await client.gather({}, { recipients: ["a", "b"], aggregate: "object" })).merged.toString(), '{"a":1,"b":1}');
      const one = await client.gather({}, { recipients: ["a"], aggregate: "object" });
      assert.deepEqual([one.merged.toString(), one.parts, one.queues], ['{"a":1}', undefined, ["a"]]);
      assert.equal((await client.gather({}, { recipients: ["a"] })).parts.a.toString(), '{"a":1}');
      const accepted = await client.gather({}, { recipients: ["a", "b"], reply_to: "answers", id: "g" });
      assert.deepEqual(accepted, { id: "g", recipients: 2, duplicate: false });
    });
  },

  async restart() {
    const count = 2000;
    const sent = Array.from({ length: count }, (_, n) => client.send("q", String(n), { id: `m${n}` }));
    await sent[count / 2];
    await ask("restart");
    await Promise.all(sent);
    let gate;
    const opened = new Promise((resolve) => (gate = resolve));
    const work = (message) => (message.seq === count + 1 ? opened : undefined);
    await working("q", work, { credit: 20 }, async ({ given, until }) => {
      await until(count);
      assert.deepEqual(given.map((message) => message.payload.toString()), Array.from({ length: count }, (_, n) => String(n)));
      await client.send("q", "held");
      await until(count + 1);
      await ask("restart");
      gate();
      await until(count + 2);
      assert.equal(given[count + 1].payload.toString(), "held");
      assert.ok(given[count].isStale || given[count].delivery !== given[count + 1].delivery);
    });
  },

  async leases() {
    await client.send("q", "slow");
    await client.send("q", "next");
    let stopped;
    const slow = () => new Promise((resolve) => setTimeout(() => resolve("done"), 2_500));
    await working("q", slow, {}, async ({ given, until, worker }) => {
      await until(1);
      // It finishes what it has, though stopped; and the lease of a second lasts.
      worker.stop();
      stopped = given;
    });
    assert.equal(stopped.length, 1);
    assert.equal((await client.status(stopped[0].id)).state, "done");
  },

  async late() {
    await client.send("q", "a", { max_execution_ms: 500, max_attempts: 1 });
    await client.send("other", "b");
    const work = async (message) => {
      // Nothing tells a handler that it is late.
      while (message.payload.toString() === "a" && !message.isStale) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await working(["q", "other"], work, {}, async ({ given, until }) => {
      await until(2);
      assert.deepEqual(given.map((message) => [message.payload.toString(), message.isStale]), [["a", true], ["b", false]]);
    });
  },

  async odd() {
    const odd = {
      bare: () => Object.create(null),
      nothing: () => undefined,
      surrogate: () => new Error("\udc80".repeat(5000)),
      bytes: () => new Reject("never", { detail: Buffer.from([255]), action: "block" }),
      action: () => new Reject("never", { action: "forget" }),
      long: () => new Reject("é".repeat(100_000), { delay: 1.5, action: "block" }),
    };
    // A queue for each, since it is blocked by it, and a last one.
    const queues = [...Object.keys(odd), "good"];
    const warned = [];
    process.on("warning", (warning) => warned.push(warning));
    const work = (message) => {
      if (message.queue in odd) throw odd[message.queue]();
      message.progress("é".repeat(2000), 500.4);
      message.alert("slow", "é".repeat(2000));
      message.part("half");
      return "fine";
    };
    const good = async () => assert.equal((await client.call("good", 1, { timeout })).payload.toString(), "fine");
    await working(queues, work, {}, async () => {
      for (const queue of Object.keys(odd)) {
        await assert.rejects(client.call(queue, 1, { timeout }), (error) => error.status === "blocked" && !!error.error.code, queue);
        await good();
      }
      assert.deepEqual(warned, []);
      const fail = () => {
        throw new RangeError("the caller's own");
      };
      await assert.rejects(client.call("good", 1, { timeout, onPart: fail }), RangeError);
      await assert.rejects(client.call("good", 1, { timeout, onPart: async () => fail() }), RangeError);
      await good();
    });
    // A part that is too large is refused, and the worker goes on.
    await working("good", (message) => message.part(Buffer.alloc(17 * 1024 * 1024)), {}, async () => {
      await client.call("good", 1, { timeout });
      await client.call("good", 2, { timeout });
    });
    assert.match(warned[0].message, /refused/);
    await assert.rejects(new Worker("not a name", () => {}, { address: workers }).run(), mubroker.Malformed);
    const stopped = new Worker("good", () => {}, { address: workers });
    stopped.stop();
    await stopped.run();
  },

  async refusals() {
    const ended = [];
    const pending = new wire.Pending();
    const under = {
      send: wire.send("q", "", { id: "c" }),
      first: wire.sendMany([{ queue: "q", id: "a0" }, { queue: "q", id: "a1" }]),
      second: wire.sendMany([{ queue: "q", id: "b0" }, { queue: "q", id: "b1" }]),
      ping: wire.ping(),
    };
    for (const [name, request] of Object.entries(under)) {
      request.reject = () => ended.push(name);
      pending.add(request);
    }
    const refuse = (id) => pending.take(wire.pack("REJECTED", { code: "full", reason: "no", id }).map((frame) => Buffer.from(frame)));
    ["gone", "b1", undefined, undefined, undefined].forEach(refuse);
    assert.deepEqual(ended, ["second", "ping", "first", "send"]);
    assert.equal(pending.size, 0);
    const bytes = Buffer.from("before");
    const { frames } = wire.send("q", bytes, {});
    bytes.fill("x");
    assert.equal(frames.at(-1).toString(), "before");

    // Frames that can't be read are passed over, and a client that is closed fails all.
    const warned = [];
    process.on("warning", (warning) => warned.push(warning));
    const router = new Router({ linger: 0 });
    await router.bind("tcp://127.0.0.1:*");
    const odd = new Client(router.lastEndpoint, { timeout, window: 1 });
    const asked = odd.ping();
    const [who] = await router.receive();
    for (const said of [["HTTP"], ["MUB1", "PONG", "{"], ["MUB1", "PONG", "3"], ["MUB1", "ACCEPTED", '{"accepted": [null]}']]) {
      await router.send([who, ...said]);
    }
    await router.send([who, "MUB1", "PONG"]);
    await asked;
    // Warnings come with the next turn.
    await new Promise(setImmediate);
    assert.equal(warned.length, 4);
    const waiting = [odd.ping(), odd.ping(), odd.ping()].map((one) => assert.rejects(one, mubroker.Closed));
    odd.close();
    await Promise.all(waiting);
    router.close();
  },

  async alerts() {
    // A broker of a few lines: it forgets the worker while that is at work.
    const router = new Router({ linger: 0 });
    await router.bind("tcp://127.0.0.1:*");
    const work = async (message) => {
      while (!message.isForgotten) await new Promise(setImmediate);
      for (let n = 0; n < 20; n++) message.alert("odd", String(n));
    };
    const worker = new Worker("q", work, { address: router.lastEndpoint });
    const running = worker.run();
    const hear = async () => (await router.receive()).map(String);
    const [who] = await router.receive();
    await router.send([who, "MUB1", "DELIVER", '{"delivery": "1", "id": "a", "queue": "q", "seq": 1, "attempt": 1, "deadline_ms": 60000}', ""]);
    await router.send([who, "MUB1", "BYE", "{}"]);
    assert.equal((await hear())[2], "READY");
    const said = [];
    while (said.length < 16) said.push(JSON.parse((await hear())[3]).message);
    assert.deepEqual(said, Array.from({ length: 16 }, (_, n) => String(n + 4)));
    worker.stop();
    await router.send([who, "MUB1", "BYE", "{}"]);
    await running;
    router.close();
  },
};

await parts[part]();
client.close();
console.log("ok");
process.exit(0);
