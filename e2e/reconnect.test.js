// Nodes that die, leave and come back, and what their clients see.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { Cluster, topologies } from "./lib/cluster.js";
import { Client, stopAll } from "./lib/client.js";
import { Log } from "./lib/wait.js";

for (const topology of topologies) {
  describe(topology.name, () => {
    let cluster;
    before(async () => { cluster = await Cluster.start(topology); });
    after(async () => { await stopAll(); await cluster.close(); });
    const nodeOf = async (client) => (await client.invoke("WhoAmI")).node;

    test("a client of a killed node comes back by itself, with a new id", async () => {
      const ana = await Client.connect(cluster.url, { reconnect: true, user: "ana" });
      const [id, node] = [ana.id, await nodeOf(ana)];

      await cluster.kill(node);
      await ana.happens("reconnecting");
      if (topology.nodes === 1) await cluster.restart(node);
      const { reconnected } = await ana.happens("reconnected");
      assert.notEqual(reconnected, id);
      assert.equal(reconnected, ana.id);
      if (topology.nodes > 1) {
        assert.notEqual(await nodeOf(ana), node);
        await cluster.restart(node);
      }

      // It is as reachable as anybody: by user, from whichever node, the restarted one too.
      const bob = await Client.connect(cluster.nodes.find((n) => n.name === node).url);
      assert.equal(await nodeOf(bob), node);
      await bob.invoke("SendToUser", "ana", "bob", "welcome back");
      await ana.receives("welcome back");
    });

    test("a node that stops sends its clients elsewhere and ends in order", async () => {
      const ana = await Client.connect(cluster.url, { reconnect: true });
      const node = await nodeOf(ana);
      const plain = await Client.connect(cluster.nodes.find((n) => n.name === node).url); // does not reconnect

      const stopped = cluster.stop(node);
      assert.equal((await ana.happens("reconnecting")).reconnecting, "", "the server's leaving is no error");
      assert.equal((await plain.happens("closed")).closed, "");
      assert.equal(await stopped, "exit status 0");
      if (topology.nodes === 1) await cluster.restart(node);
      await ana.happens("reconnected");
      assert.equal(await ana.invoke("Echo", "here again"), "here again");
      if (topology.nodes > 1) await cluster.restart(node);
    });

    test("a node that stops says Close with allowReconnect, then closes with 1000", async () => {
      const node = cluster.nodes[0];
      const seen = new Log();
      const socket = new WebSocket(`${node.url.replace("http", "ws")}/chat`);
      socket.on("open", () => socket.send('{"protocol":"json","version":1}\x1e'));
      socket.on("message", (data) => data.toString().split("\x1e").filter(Boolean).forEach((text) => seen.add({ text })));
      socket.on("close", (code) => seen.add({ code }));
      socket.on("error", (err) => seen.add({ err }));
      await seen.first((e) => e.text === "{}", "the handshake");
      // A Close right behind the handshake would fail an official client's start, so the first answer is waited for.
      socket.send('{"type":1,"invocationId":"1","target":"Echo","arguments":[1]}\x1e');
      await seen.first((e) => e.text === '{"type":3,"invocationId":"1","result":1}', "the answer");

      await cluster.stop(node.name);
      await seen.first((e) => "code" in e, "the end of the socket");
      const rest = seen.entries.slice(2).filter((e) => e.text !== '{"type":6}');
      assert.deepEqual(rest, [{ text: '{"type":7,"allowReconnect":true}' }, { code: 1000 }]);
      await cluster.restart(node.name);
    });
  });
}

describe("Redis goes away", () => {
  let cluster;
  before(async () => { cluster = await Cluster.start(); });
  after(async () => { await stopAll(); await cluster.close(); });

  test("connections stay, sends fail with a plain sentence, and all works again once it is back", async () => {
    const [ana, bob] = [await Client.connect(cluster.nodes[0].url), await Client.connect(cluster.nodes[1].url)];
    await ana.invoke("SendMessage", "ana", "before");
    await bob.receives("before");

    await cluster.kill("redis");
    assert.equal(await ana.error("SendMessage", "ana", "lost"), "An unexpected error occurred invoking 'SendMessage' on the server.");
    assert.equal(await ana.invoke("Echo", "alone"), "alone");

    await cluster.restart("redis");
    await reaches(ana, bob);
    assert.deepEqual([ana.connection.state, bob.connection.state], ["Connected", "Connected"]);
    assert.ok(!bob.texts.includes("lost"), "a send that failed was delivered after all");
  });
});

// reaches sends until one of the messages arrives: the nodes find the way back to Redis each in its own time.
async function reaches(from, to) {
  let i = 0;
  const arrived = to.log.first((e) => e.message?.[1].startsWith("after "), "a message after the gap");
  const done = arrived.then(() => true, () => true);
  while (!(await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 100))]))) {
    await from.invoke("SendMessage", "ana", `after ${i++}`).catch(() => {});
  }
  await arrived;
}
