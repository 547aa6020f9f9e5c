// zeromq.js as Majordomo client and worker, of both versions, of a running broker:
//   node majordomo.mjs CLIENTS WORKERS
// Prints "ok".
import assert from "node:assert/strict";
import { Dealer, Request } from "zeromq";

const [clients, workers] = process.argv.slice(2);
const COUNT = 20;
const byte = (n) => Buffer.from([n]);

const versions = [
  { tag: "01", service: "node.1", first: [""], reply: 3, heartbeat: 4, disconnect: 5 },
  { tag: "02", service: "node.2", first: [], reply: 4, heartbeat: 5, disconnect: 6 },
];

const work = async ({ tag, service, first, reply, heartbeat, disconnect }) => {
  const worker = new Dealer({ receiveTimeout: 50_000, linger: 1_000 });
  worker.connect(workers);
  const say = (command, ...frames) => worker.send([...first, `MDPW${tag}`, byte(command), ...frames]);
  await say(1, service);
  for (let n = 1; n <= COUNT; ) {
    const frames = await worker.receive();
    if (first.length) assert.equal(frames.shift().length, 0);
    const [spoken, command, address, empty, ...body] = frames;
    assert.equal(spoken.toString(), `MDPW${tag}`);
    if (command[0] === heartbeat) {
      await say(heartbeat);
      continue;
    }
    assert.equal(command[0], 2);
    assert.equal(empty.length, 0);
    await say(reply, address, "", "done by node", ...body);
    n += 1;
  }
  await say(disconnect);
  worker.close();
};

for (const version of versions) {
  const { tag, service } = version;
  const isFirst = tag === "01";
  const worked = work(version);
  const client = isFirst ? new Request({ receiveTimeout: 50_000, linger: 0 }) : new Dealer({ receiveTimeout: 50_000, linger: 0 });
  client.connect(clients);
  for (let n = 1; n <= COUNT; n += 1) {
    const body = Buffer.from([0, 255, n]);
    await client.send(isFirst ? [`MDPC${tag}`, service, body] : [`MDPC${tag}`, byte(1), service, body]);
    const [spoken, ...rest] = await client.receive();
    assert.equal(spoken.toString(), `MDPC${tag}`);
    if (!isFirst) assert.equal(rest.shift()[0], 3);
    assert.deepEqual(rest.map(String), [service, "done by node", String(body)]);
  }
  await worked;
  client.close();
}
console.log("ok");
