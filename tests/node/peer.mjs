// zeromq.js as client (REQ) and worker (DEALER) of a running broker:
//   node peer.mjs CLIENTS WORKERS
// Sends, is given what it sent in the same order and bytes, and is answered to a CALL. Prints "ok".
import assert from "node:assert/strict";
import { Dealer, Request } from "zeromq";

const [clients, workers] = process.argv.slice(2);
const COUNT = 50;
const queue = "node";

const envelope = (verb, header, ...payload) => ["MUB1", verb, JSON.stringify(header), ...payload];
const open = ([magic, verb, header, ...payload]) => {
  assert.equal(magic.toString(), "MUB1");
  return { verb: verb.toString(), header: JSON.parse(header.toString() || "{}"), payload };
};

const client = new Request({ receiveTimeout: 20_000, linger: 0 });
client.connect(clients);
const ask = async (verb, header, ...payload) => {
  await client.send(envelope(verb, header, ...payload));
  return open(await client.receive());
};

const body = (n) => Buffer.concat([Buffer.from(`{"n":${n},"price":1.10}`), Buffer.from([0, 255, n])]);

const work = async () => {
  const worker = new Dealer({ receiveTimeout: 20_000, linger: 1_000 });
  worker.connect(workers);
  await worker.send(envelope("READY", { queues: [queue], credit: 1, worker: { name: "zeromq.js" } }));
  for (let n = 1; n <= COUNT + 1; ) {
    const { verb, header, payload } = open(await worker.receive());
    if (verb === "HEARTBEAT") {
      await worker.send(envelope("HEARTBEAT", {}));
      continue;
    }
    assert.equal(verb, "DELIVER");
    assert.equal(header.seq, n);
    if (n <= COUNT) {
      assert.equal(header.id, `node-${n}`);
      assert.deepEqual(payload[0], body(n));
    }
    await worker.send(envelope("ACK", { delivery: header.delivery }, Buffer.from("done by node")));
    n += 1;
  }
  await worker.send(envelope("BYE", {}));
  worker.close();
};

assert.equal((await ask("HELLO", { client: "zeromq.js", version: "6" })).verb, "WELCOME");
assert.equal((await ask("PING", {})).verb, "PONG");
for (let n = 1; n <= COUNT; n += 1) {
  const { verb, header } = await ask("SEND", { queue, id: `node-${n}` }, body(n));
  assert.equal(verb, "ACCEPTED");
  assert.deepEqual(header, { id: `node-${n}`, queue, seq: n, duplicate: false });
}
const worked = work();
const { verb, header, payload } = await ask("CALL", { queue, timeout_ms: 50_000 }, "call");
assert.equal(verb, "REPLY");
assert.equal(header.status, "ok");
assert.equal(payload[0].toString(), "done by node");
await worked;
client.close();
console.log("ok");
