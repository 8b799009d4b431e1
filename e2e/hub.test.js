// What a client may call and what it gets, in one process and across nodes.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster, topologies } from "./lib/cluster.js";
import { Client, settled, stopAll } from "./lib/client.js";

for (const topology of topologies) {
  describe(topology.name, () => {
    let cluster;
    before(async () => { cluster = await Cluster.start(topology); });
    after(async () => { await stopAll(); await cluster.close(); });

    const url = (i) => cluster.nodes[i % cluster.nodes.length].url; // of one node, not through the proxy
    const connect = (options) => Client.connect(cluster.url, options);

    test("WhoAmI tells connection, user, node and transport", async () => {
      const ana = await connect({ user: "ana" });
      const { node, ...rest } = await ana.invoke("WhoAmI");
      assert.deepEqual(rest, { connectionId: ana.id, userId: "ana", transport: "WebSockets" });
      assert.ok(cluster.nodes.some((n) => n.name === node), `${node} is one of the cluster's`);
      const nobody = await connect();
      assert.equal((await nobody.invoke("WhoAmI")).userId, null);
    });

    test("the proxy spreads clients over every node", async () => {
      const seen = new Set();
      for (let i = 0; i < 4 * topology.nodes && seen.size < topology.nodes; i++) {
        const client = await connect();
        seen.add((await client.invoke("WhoAmI")).node);
      }
      assert.equal(seen.size, topology.nodes);
    });

    test("a WebSocket without negotiation works", async () => {
      const bare = await connect({ skipNegotiation: true, user: "bare" });
      const who = await bare.invoke("WhoAmI");
      assert.match(who.connectionId, /^[\w-]{22}$/);
      assert.equal(who.userId, "bare");
      assert.equal(who.transport, "WebSockets");
    });

    test("Echo returns any value unchanged", async () => {
      const ana = await connect();
      const values = [
        null, true, 0, -1, 2 ** 53 - 1, 1.5, 1e300, "", "plain", "Grüße, 世界 🎉", "<b>&amp;</b>", "\u0000\u001e\"\\/\n\u2028",
        [], [1, [2, [3]]], {}, { b: 1, a: { Nested: [null, { x: "y" }] } }, "x".repeat(20_000),
      ];
      for (const value of values) assert.deepEqual(await ana.invoke("Echo", value), value);
    });

    test("a method's name is found whatever its case", async () => {
      const ana = await connect();
      assert.equal(await ana.invoke("eCHO", "x"), "x");
    });

    test("a method without a result returns null", async () => {
      const ana = await connect();
      assert.equal(await ana.invoke("SendMessage", "ana", "to nobody in particular"), null);
    });

    test("send without waiting reaches everyone", async () => {
      const [ana, bob] = [await connect(), await connect()];
      await ana.connection.send("SendMessage", "ana", "no answer wanted");
      assert.deepEqual(await ana.receives("no answer wanted"), ["ana", "no answer wanted"]);
      assert.deepEqual(await bob.receives("no answer wanted"), ["ana", "no answer wanted"]);
    });

    const failures = [
      ["an unknown method", ["Nope"], "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist."],
      ["a lifecycle method", ["OnConnected"], "Failed to invoke 'OnConnected' due to an error on the server. HubException: Method does not exist."],
      ["too few arguments", ["SendMessage", "ana"], "Failed to invoke 'SendMessage' due to an error on the server."],
      ["too many arguments", ["SendMessage", "ana", "x", "y"], "Failed to invoke 'SendMessage' due to an error on the server."],
      ["wrong types", ["SendMessage", 1, { a: 2 }], "Failed to invoke 'SendMessage' due to an error on the server."],
      ["an error meant for the client", ["Fail", "the <door> is “shut”"], "An unexpected error occurred invoking 'Fail' on the server. HubException: the <door> is “shut”"],
    ];
    for (const [name, call, text] of failures) {
      test(`${name} fails that call alone`, async () => {
        const ana = await connect();
        assert.equal(await ana.error(...call), text);
        await ana.connection.send(...call); // and without an id, nothing comes back
        assert.equal(await ana.invoke("Echo", "still here"), "still here");
        assert.equal(ana.connection.state, "Connected");
      });
    }

    test("All reaches everyone, the sender too", async () => {
      const people = [await Client.connect(url(0)), await Client.connect(url(1)), await Client.connect(url(2))];
      await people[0].invoke("SendMessage", "p0", "to all");
      for (const person of people) assert.deepEqual(await person.receives("to all"), ["p0", "to all"]);
    });

    test("Others reaches everyone but the sender", async () => {
      const [ana, bob, eve] = [await Client.connect(url(0)), await Client.connect(url(1)), await Client.connect(url(0))];
      await ana.invoke("SendToOthers", "ana", "to others");
      await bob.receives("to others");
      await eve.receives("to others");
      await settled(ana, bob, eve);
      assert.ok(!ana.texts.includes("to others"), "the sender got its own message");
    });

    test("User reaches every connection of that user, wherever, and no other", async () => {
      const twice = [await Client.connect(url(0), { user: "zoë k" }), await Client.connect(url(1), { user: "zoë k" })];
      const other = await Client.connect(url(2), { user: "zoë" });
      await other.invoke("SendToUser", "zoë k", "other", "to zoë k");
      for (const one of twice) await one.receives("to zoë k");
      await settled(...twice, other);
      for (const one of twice) assert.equal(one.texts.filter((t) => t === "to zoë k").length, 1);
      assert.ok(!other.texts.includes("to zoë k"));

      await twice[0].stop(); // the rest of the user stays reachable
      await other.invoke("SendToUser", "zoë k", "other", "again");
      await twice[1].receives("again");
    });

    test("Client reaches that connection alone", async () => {
      const [ana, bob, eve] = [await Client.connect(url(0)), await Client.connect(url(1)), await Client.connect(url(1))];
      await ana.invoke("SendToConnection", bob.id, "ana", "to bob");
      await ana.invoke("SendToConnection", ana.id, "ana", "to myself");
      await ana.invoke("SendToConnection", "nobody-has-this-id-123", "ana", "to nobody");
      await bob.receives("to bob");
      await ana.receives("to myself");
      await settled(ana, bob, eve);
      assert.deepEqual([ana, bob, eve].map((c) => c.texts.filter((t) => !t.startsWith("fence"))), [["to myself"], ["to bob"], []]);
    });

    test("a room reaches its members on every node, until they leave", async () => {
      const [ana, bob, eve] = [await Client.connect(url(0)), await Client.connect(url(1)), await Client.connect(url(2))];
      await ana.invoke("JoinRoom", "attic");
      await ana.hears(`${ana.id} joined attic`);
      await bob.invoke("JoinRoom", "attic");
      await ana.hears(`${bob.id} joined attic`);
      await bob.hears(`${bob.id} joined attic`);

      await eve.invoke("SendToRoom", "attic", "eve", "anyone up there?");
      await ana.receives("anyone up there?");
      await bob.receives("anyone up there?");

      await bob.invoke("LeaveRoom", "attic");
      await ana.hears(`${bob.id} left attic`);
      await eve.invoke("SendToRoom", "attic", "eve", "still there?");
      await ana.receives("still there?");
      await settled(ana, bob, eve);
      assert.ok(!bob.texts.includes("still there?"), "one who left got the room's message");
      assert.ok(!eve.texts.includes("anyone up there?"), "one who never joined got the room's message");
    });

    test("joining twice is being in the room once", async () => {
      const ana = await connect();
      await ana.invoke("JoinRoom", "twice");
      await ana.invoke("JoinRoom", "twice");
      await ana.invoke("SendToRoom", "twice", "ana", "once only");
      await ana.receives("once only");
      await settled(ana);
      assert.equal(ana.texts.filter((t) => t === "once only").length, 1);
      await ana.invoke("LeaveRoom", "twice");
      await ana.invoke("LeaveRoom", "never joined");
    });

    test("a message of the greatest size passes, one byte more closes the connection", async () => {
      const limit = 32_768; // with its record separator
      const frame = (value, id) => JSON.stringify({ arguments: [value], invocationId: id, target: "Echo", type: 1 }) + "\x1e";
      const ana = await connect();
      const room = limit - frame("", "0").length;
      assert.equal((await ana.invoke("Echo", "x".repeat(room))).length, room);
      const failed = await ana.error("Echo", "x".repeat(room + 1));
      assert.equal(failed, "Server returned an error on close: Connection closed with an error.");
      assert.equal((await ana.happens("closed")).closed, "Server returned an error on close: Connection closed with an error.");
    });

    test("a client that stops is gone for the others, and they do not notice", async () => {
      const [ana, bob] = [await connect(), await connect()];
      await bob.stop();
      await ana.invoke("SendToConnection", bob.connection.connectionId ?? "gone", "ana", "too late");
      await settled(ana);
      assert.equal(ana.connection.state, "Connected");
    });
  });
}
