// Who is online and who is where, over three nodes, with the official client.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { Cluster } from "./lib/cluster.js";
import { Log, within } from "./lib/wait.js";

let clients = [];
afterEach(async () => {
  await Promise.all(clients.map((c) => c.stop()));
  clients = [];
});

// connect starts a client of a node as a user; none is anonymous. What it is told of presence is in changes.
async function connect(node, user) {
  const query = user ? `?user=${user}` : "";
  const client = new HubConnectionBuilder().withUrl(`${node.url}/chat${query}`).configureLogging(LogLevel.None).build();
  client.changes = new Log();
  client.on("PresenceChanged", (who, online) => client.changes.add(`${who} ${online}`));
  client.on("SystemMessage", () => {});
  client.on("ReceiveMessage", () => {});
  await within(client.start(), "the client to start");
  clients.push(client);
  return client;
}

const changed = (client, text) => client.changes.first((entry) => entry === text, text);

describe("three nodes", () => {
  let cluster;
  before(async () => { cluster = await Cluster.start({ args: ["--presence-grace=1s", "--demo"] }); });
  after(() => cluster.close());

  test("a watcher is told the state, and then each change once", async () => {
    const [one, two, three] = cluster.nodes;
    const watcher = await connect(one, "walter");
    const there = await watcher.invoke("WatchPresence");
    assert.ok(there.includes("walter"), `online: ${there}`);

    const first = await connect(two, "ana");
    await changed(watcher, "ana true");
    assert.deepEqual(await watcher.invoke("Online", ["nobody", "ana", "walter"]), ["ana", "walter"]);
    const second = await connect(three, "ana");
    await first.stop(); // who is also elsewhere stays
    const bob = await connect(two, "bob");
    await changed(watcher, "bob true");
    await bob.stop();
    await changed(watcher, "bob false");
    assert.deepEqual(await watcher.invoke("Online", ["ana", "bob"]), ["ana"]);
    await second.stop();
    await changed(watcher, "ana false");
    assert.deepEqual(watcher.changes.entries, ["ana true", "bob true", "bob false", "ana false"]);
  });

  test("a room has its members of all nodes, those without a name too", async () => {
    const members = [await connect(cluster.nodes[0], "ana"), await connect(cluster.nodes[1], "bob"), await connect(cluster.nodes[2])];
    for (const client of members) await client.invoke("JoinRoom", "attic");
    const want = [["ana", members[0]], ["bob", members[1]], [null, members[2]]]
      .map(([userId, client]) => ({ connectionId: client.connectionId, userId }))
      .sort((a, b) => (a.connectionId < b.connectionId ? -1 : 1));
    for (const client of members) assert.deepEqual(await client.invoke("RoomMembers", "attic"), want);
    await members[1].invoke("LeaveRoom", "attic");
    await members[2].stop();
    assert.deepEqual(await members[0].invoke("RoomMembers", "none"), []);
    for (;;) { // the node learns of the end a moment later
      const left = await members[1].invoke("RoomMembers", "attic");
      if (left.length === 1) break;
    }
  });

  test("users of a node that was killed are offline within ten seconds", async () => {
    const [one, two, three] = cluster.nodes;
    const watcher = await connect(one, "walter");
    await watcher.invoke("WatchPresence");
    for (let i = 0; i < 10; i++) await connect(three, `lost-${i}`);
    await connect(three, "both");
    const elsewhere = await connect(two, "both");
    await elsewhere.invoke("JoinRoom", "cellar");
    for (let i = 0; i < 10; i++) await changed(watcher, `lost-${i} true`);
    await changed(watcher, "both true");

    const killed = performance.now();
    await cluster.kill(three.name);
    for (let i = 0; i < 10; i++) await changed(watcher, `lost-${i} false`);
    const took = performance.now() - killed;
    assert.ok(took < 10_000, `after ${took} ms`);
    assert.deepEqual(await watcher.invoke("Online", ["both", "lost-0"]), ["both"]);
    assert.equal((await watcher.invoke("RoomMembers", "cellar")).length, 1);
    const about = watcher.changes.entries.filter((entry) => entry.startsWith("both"));
    assert.deepEqual(about, ["both true"], "who is also elsewhere produces nothing");
    await cluster.restart(three.name);
  });
});
