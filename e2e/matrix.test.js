// What the official client, in Node.js and in Chromium, and the Go client can do over every transport, in every encoding, on one node
// and on three behind an nginx that hands out requests in turn. What ran stands as a table in docs/compatibility.md.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch } from "./lib/browser.js";
import { Cluster, topologies } from "./lib/cluster.js";
import { Client } from "./lib/client.js";
import { essentials, features } from "./lib/features.js";
import { GoClients } from "./lib/goclient.js";
import { Nginx } from "./lib/nginx.js";
import { Page } from "./lib/page.js";
import { Table, update } from "./lib/table.js";

const kinds = [
  ["WebSockets", "JSON"], ["WebSockets", "MessagePack"],
  ["ServerSentEvents", "JSON"],
  ["LongPolling", "JSON"], ["LongPolling", "MessagePack"],
];
const inNode = kinds.map((kind) => ["Node.js", ...kind]);
const inGo = kinds.map((kind) => ["Go", ...kind]);
const inChromium = kinds.slice(0, 4).map((kind) => ["Chromium", ...kind]);
const everyone = [...inNode, ...inGo, ...inChromium];
const table = new Table(["Nodes", "Client", "Transport", "Encoding"], [...Object.keys(features), "reconnect"]);
const nameOf = (feature, kind) => [feature, ...kind].join(", ");

let browser;
let go;
before(async () => {
  go = new GoClients();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await go.close();
});

// open connects a client of a kind that is not in a browser.
const open = ([program, transport, protocol], url, options) =>
  Client.connect(url, { transport, protocol, ...(program === "Go" && { build: (...args) => go.connection(...args) }), ...options });

for (const topology of topologies) {
  const nodes = topology.nodes === 1 ? "one" : "three, nginx";
  describe(topology.nodes === 1 ? "one node" : "three nodes behind nginx", () => {
    let chat; // the sample hub's nodes
    let more; // the test hub's nodes
    let balancers = []; // one for each
    let urls; // of the balancers, by hub
    const pages = new Map(); // the clients in Chromium by kind, each a promise
    before(async () => {
      chat = await Cluster.start(topology);
      more = await Cluster.start({ ...topology, program: "testhub", redis: chat.redis || "none" });
      const of = (cluster) => cluster.nodes.map((node) => node.url);
      if (topology.nodes > 1) balancers = await Promise.all([Nginx.start(of(chat)), Nginx.start(of(more))]);
      urls = balancers.length ? { chat: balancers[0].url, test: balancers[1].url } : { chat: of(chat)[0], test: of(more)[0] };
    });
    after(async () => {
      await Promise.all(balancers.map((nginx) => nginx.close()));
      await more.close();
      await chat.close();
    });

    describe("Node.js and Go", { concurrency: 6 }, () => {
      for (const [feature, check] of Object.entries(features)) {
        for (const kind of [...inNode, ...inGo]) {
          const [program, transport, protocol] = kind;
          const name = nameOf(feature, kind);
          test(name, table.cell([nodes, ...kind], feature, async (t) => {
            const clients = [];
            t.after(() => Promise.all(clients.map((client) => client.stop())));
            const connect = async (options) => {
              const client = await open(kind, urls[options?.hub ?? "chat"], options);
              clients.push(client);
              return client;
            };
            await check({ connect, name, program, transport, protocol });
          }));
        }
      }
    });

    test("clients of all kinds hear each other, all in the same order", async (t) => {
      const clients = await Promise.all([...inNode, ...inGo].map((kind) => open(kind, urls.chat)));
      t.after(() => Promise.all(clients.map((client) => client.stop())));
      const count = 20;
      await Promise.all(clients.map(async (client, from) => {
        for (let i = 0; i < count; i++) await client.invoke("SendMessage", `${from}`, `${i}`);
      }));
      await Promise.all(clients.map((client) => client.has(count * clients.length)));
      for (const client of clients) assert.deepEqual(client.messages, clients[0].messages);
    });

    describe("Chromium", { concurrency: inChromium.length }, () => {
      before(async () => {
        for (const kind of inChromium) {
          const [, transport, protocol] = kind;
          pages.set(kind, Page.connect(browser, urls.chat, { transport, protocol, user: nameOf("user", kind) }));
        }
        await Promise.allSettled(pages.values()); // a test whose page is not there says so itself
      });
      for (const [feature, check] of Object.entries(essentials)) {
        for (const kind of inChromium) {
          const name = nameOf(feature, kind);
          test(name, table.cell([nodes, ...kind], feature, async () => {
            await check({ page: await pages.get(kind), user: nameOf("user", kind), name, transport: kind[1] });
          }));
        }
      }
    });

    // One node dies under the clients of all kinds at once.
    describe("reconnect", { concurrency: true }, () => {
      const clients = new Map(); // by kind, each a promise of a client and its id
      let victim;
      before(async () => {
        victim = chat.nodes[0].name;
        for (const kind of everyone) {
          const client = pages.get(kind) ?? open(kind, urls.chat, { reconnect: true });
          clients.set(kind, client.then((c) => put(c, victim, urls.chat)));
        }
        await Promise.allSettled(clients.values());
        await chat.kill(victim);
        if (topology.nodes === 1) await chat.restart(victim);
      });
      after(async () => {
        for (const { value } of await Promise.allSettled(clients.values())) await value?.client.stop();
        if (topology.nodes > 1) await chat.restart(victim);
      });

      for (const kind of everyone) {
        const name = nameOf("reconnect", kind);
        test(name, table.cell([nodes, ...kind], "reconnect", async () => {
          const { client: ana, id } = await clients.get(kind);
          const reconnected = await ana.reconnected();
          assert.notEqual(reconnected, id);
          assert.equal(reconnected, await ana.id);
          if (topology.nodes > 1) assert.notEqual((await ana.invoke("WhoAmI")).node, victim);
          await ana.invoke("JoinRoom", name);
          await ana.invoke("SendToRoom", name, "ana", `${name}: back again`);
          await ana.receives(`${name}: back again`);
        }));
      }
    });
  });
}

// put makes the client start again until the balancer has put it on the node. A start takes much the same number of requests each
// time, over long polling often 9: the balancer, whose turn goes around three, would choose the same node for ever. A few requests
// that lead to nothing take turns away from it.
async function put(client, node, url) {
  for (let tries = 0; (await client.invoke("WhoAmI")).node !== node; tries++) {
    if (tries === 100) throw new Error(`the balancer never chose ${node}`);
    for (let turns = Math.floor(Math.random() * 3); turns > 0; turns--) await fetch(`${url}/chat`);
    await client.again();
  }
  return { client, id: await client.id };
}

test("docs/compatibility.md holds what ran", () => {
  console.log(`\n${table}`);
  if (update) table.write();
  assert.deepEqual(table.faults(), [], "run the tests with HUBFLEET_UPDATE=1, and look at what has changed");
});
