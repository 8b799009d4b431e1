// A node that is drained while clients of every kind are at work: they are back on another node, and have missed nothing that
// they were promised.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { Cluster } from "./lib/cluster.js";
import { Client, stopAll } from "./lib/client.js";
import { Nginx } from "./lib/nginx.js";

const kinds = [
  { transport: "WebSockets" },
  { transport: "WebSockets", protocol: "MessagePack" },
  { transport: "WebSockets", stateful: true },
  { transport: "ServerSentEvents" },
  { transport: "LongPolling" },
];
const nameOf = (kind) => Object.values(kind).join(" ");

describe("drain", () => {
  let cluster, nginx;
  before(async () => {
    cluster = await Cluster.start({ nodes: 3, args: ["--drain-delay=2s", "--drain-timeout=25s"] });
    nginx = await Nginx.start(cluster.nodes.map((node) => node.url));
  });
  after(async () => { await stopAll(); await nginx?.close(); await cluster.close(); });

  test("every client is back on another node, none sees a failed start, running calls are answered", async (t) => {
    const clients = [];
    for (const kind of kinds) {
      for (let i = 0; i < 3; i++) clients.push({ kind, client: await Client.connect(nginx.url, { ...kind, reconnect: "as it comes" }) });
    }
    for (const c of clients) c.node = (await c.client.invoke("WhoAmI")).node;
    const leaving = cluster.nodes.find((node) => clients.some((c) => c.node === node.name));
    const moved = clients.filter((c) => c.node === leaving.name);
    const staying = cluster.nodes.filter((node) => node !== leaving);

    // Messages flow all the time, and new clients come.
    const speaker = await Client.connect(staying[0].url);
    let flowing = true, sent = 0;
    const flow = (async () => {
      while (flowing) {
        await speaker.invoke("SendMessage", "speaker", String(sent++));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const starts = [];
    const newcomers = (async () => {
      for (let i = 0; flowing; i++) {
        const kind = kinds[i % kinds.length];
        const client = new Client(nginx.url, { ...kind, reconnect: "as it comes" });
        starts.push(await client.connection.start().then(() => "started", (err) => `${nameOf(kind)}: ${err.message}`));
        clients.push({ kind, client });
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    })();

    // Calls that run while the drain begins, and end within their time.
    const calls = moved.map((c) => c.client.stream("Counter", 30, 100));
    const began = Date.now();
    t.after(() => cluster.restart(leaving.name));
    const status = await cluster.stop(leaving.name);
    const took = Date.now() - began;
    assert.equal(status, "exit status 0");
    assert.ok(took < 25_000, `it took ${took} ms`);
    for (const [i, { items, error }] of (await Promise.all(calls)).entries()) {
      assert.equal(error, undefined, `${nameOf(moved[i].kind)}: its stream failed`);
      assert.deepEqual(items, Array.from({ length: 30 }, (_, n) => n), `${nameOf(moved[i].kind)}: its stream`);
    }
    for (const c of moved) await c.client.happens("reconnected");
    flowing = false;
    await Promise.all([flow, newcomers]);
    assert.deepEqual(starts.filter((result) => result !== "started"), [], `of ${starts.length} starts`);

    // Each is reachable where it is now, and got what it got in order and once.
    await speaker.invoke("SendMessage", "speaker", "end");
    for (const { kind, client } of clients) {
      await client.receives("end");
      assert.notEqual((await client.invoke("WhoAmI")).node, leaving.name);
      const numbers = client.texts.filter((text) => text !== "end").map(Number);
      assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), `${nameOf(kind)}: messages twice, or not in order`);
      assert.ok(!client.log.entries.some((e) => "closed" in e), `${nameOf(kind)}: gave up`);
    }
  });

  test("a client that does not read holds nothing up", async (t) => {
    const [node, other] = cluster.nodes;
    const deaf = new WebSocket(`${node.url.replace("http", "ws")}/chat`);
    await new Promise((resolve, reject) => deaf.on("open", resolve).on("error", reject));
    deaf.send('{"protocol":"json","version":1}\x1e');
    await new Promise((resolve) => deaf.once("message", resolve));
    deaf._socket.pause();
    const speaker = await Client.connect(other.url);
    for (let i = 0; i < 20; i++) await speaker.invoke("SendMessage", "speaker", "x".repeat(30_000));
    const began = Date.now();
    t.after(() => cluster.restart(node.name));
    assert.equal(await cluster.stop(node.name), "exit status 0");
    assert.ok(Date.now() - began < 25_000);
    deaf.terminate();
  });

  test("the last node does not wait for others", async () => {
    await stopAll();
    const [last, ...others] = cluster.nodes;
    for (const node of others) await cluster.kill(node.name);
    await new Promise((resolve) => setTimeout(resolve, 6_000)); // until their leases have ended
    const poller = await Client.connect(last.url, { transport: "LongPolling" });
    await new Promise((resolve) => setTimeout(resolve, 2_000)); // no client is told to go sooner
    const began = Date.now();
    assert.equal(await cluster.stop(last.name), "exit status 0");
    assert.equal((await poller.happens("closed")).closed, "");
    assert.ok(Date.now() - began < 4_000, `it took ${Date.now() - began} ms`);
    for (const node of cluster.nodes) await cluster.restart(node.name);
  });
});
