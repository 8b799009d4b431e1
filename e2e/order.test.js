// Order and completeness under load: what one sends arrives in order, everyone sees the same, nothing is missed.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster, topologies } from "./lib/cluster.js";
import { Client, stopAll } from "./lib/client.js";

const count = 3000;

for (const topology of topologies) {
  describe(topology.name, () => {
    let cluster;
    before(async () => { cluster = await Cluster.start(topology); });
    after(async () => { await stopAll(); await cluster.close(); });
    const url = (i) => cluster.nodes[i % cluster.nodes.length].url;

    test(`${count} messages each of two senders, sent without waiting, arrive in order and the same for all`, async () => {
      const people = await Promise.all([0, 1, 2, 0, 1].map((i) => Client.connect(url(i))));
      const all = people.map((person) => person.has(2 * count));
      for (let i = 0; i < count; i++) {
        people[0].connection.send("SendMessage", "a", `${i}`);
        people[1].connection.send("SendMessage", "b", `${i}`);
      }
      await Promise.all(all);

      const expected = Array.from({ length: count }, (_, i) => `${i}`);
      for (const sender of ["a", "b"]) {
        assert.deepEqual(people[0].messages.filter(([from]) => from === sender).map(([, text]) => text), expected);
      }
      for (const person of people.slice(1)) assert.deepEqual(person.messages, people[0].messages);
    });

    test("a room keeps one sender's order", async () => {
      const [sender, ...members] = await Promise.all([0, 1, 2].map((i) => Client.connect(url(i))));
      for (const member of members) await member.invoke("JoinRoom", "order");
      for (let i = 0; i < 1000; i++) sender.connection.send("SendToRoom", "order", "s", `${i}`);
      const expected = Array.from({ length: 1000 }, (_, i) => `${i}`);
      for (const member of members) {
        await member.has(1000);
        assert.deepEqual(member.texts, expected);
      }
    });

    test("who has joined misses nothing that is sent from another node right after", async () => {
      const rounds = 500;
      const pairs = [0, 1, 2, 3];
      await Promise.all(pairs.map(async (pair) => {
        const [member, sender] = [await Client.connect(url(pair)), await Client.connect(url(pair + 1))];
        for (let i = 0; i < rounds; i++) {
          const room = `room ${pair}-${i}`;
          await member.invoke("JoinRoom", room);
          await sender.invoke("SendToRoom", room, "s", room);
          if (i % 2) { // some rooms are given up again, some are kept
            await member.has(i + 1);
            await member.invoke("LeaveRoom", room);
          }
        }
        await member.has(rounds);
        // The hub announces a member right after adding it, so that the member itself is the first who could miss it.
        await member.log.until((log) => log.filter((e) => e.system?.startsWith(`${member.id} joined `)).length === rounds,
          "the member's own announcement in every room");
        assert.deepEqual(member.texts.sort(), Array.from({ length: rounds }, (_, i) => `room ${pair}-${i}`).sort());
      }));
    });
  });
}
