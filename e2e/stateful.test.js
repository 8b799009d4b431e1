// Stateful reconnect: a connection outlives its sockets, whatever is on the way when one is cut, and ends when its node does.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import WebSocket from "ws";
import { Cluster, topologies } from "./lib/cluster.js";
import { Client } from "./lib/client.js";
import { Cutter } from "./lib/cutter.js";
import { GoClients } from "./lib/goclient.js";
import { Nginx } from "./lib/nginx.js";
import { patience, within } from "./lib/wait.js";

const numbers = (count) => Array.from({ length: count }, (_, i) => i);
const cuts = 6;

let go;
before(() => { go = new GoClients(); });
after(() => go.close());

for (const topology of topologies) {
  describe(topology.nodes === 1 ? "one node" : "three nodes behind nginx", () => {
    let cluster;
    let nginx;
    let url;
    before(async () => {
      cluster = await Cluster.start({ ...topology, program: "testhub" });
      if (topology.nodes > 1) nginx = await Nginx.start(cluster.nodes.map((node) => node.url));
      url = nginx?.url ?? cluster.nodes[0].url;
    });
    after(async () => {
      await nginx?.close();
      await cluster.close();
    });

    // through returns a client with stateful reconnect behind a cutter of its own; both end with the test.
    async function through(t, options) {
      const cutter = await Cutter.start(url);
      const client = await Client.connect(cutter.url, { hub: "test", stateful: true, ...options });
      t.after(async () => { await client.stop(); await cutter.close(); });
      const [{ request }] = cutter.about("GET /test?");
      return { cutter, client, token: /[?&]id=([^&]+)/.exec(request)[1] };
    }

    const kinds = [["Node.js", "JSON"], ["Node.js", "MessagePack"], ["Go", "JSON"], ["Go", "MessagePack"]];
    for (const [program, protocol] of kinds) {
      test(`a socket cut again and again loses nothing and repeats nothing, ${program}, ${protocol}`, async (t) => {
        const build = program === "Go" ? { build: (...args) => go.connection(...args) } : {};
        const { cutter, client: ana } = await through(t, { protocol, reconnect: true, ...build });
        const bob = await Client.connect(cluster.nodes.at(-1).url, { hub: "test" });
        t.after(() => bob.stop());
        const { id } = ana;

        // Four flows of numbers at the same time: a stream to ana, what bob sends her, what she sends, and what she asks.
        const ticks = [];
        const answers = [];
        let [told, noted, over] = [0, 0, false];
        const stream = ana.connection.stream("Ticks", "flow").subscribe({ next: (n) => ticks.push(n), error() {}, complete() {} });
        const until = async (step) => { while (!over) await within(step(), "the flows to move on"); };
        const flows = Promise.all([
          until(() => bob.invoke("Send", "Client", [id], `${told++}`)),
          until(async () => { await ana.connection.send("Note", noted++); await new Promise(setImmediate); }),
          until(async () => answers.push(await ana.invoke("Echo", answers.length))),
        ]);
        const moved = async () => {
          const [got, answered, ticked] = [ana.messages.length, answers.length, ticks.length];
          const enough = () => ana.messages.length > got + 20 && answers.length > answered + 20 && ticks.length > ticked + 5;
          await Promise.race([flows, polled(enough, "the flows to move on")]); // one that fails fails this
        };

        try {
          for (const i of numbers(cuts)) {
            await moved();
            cutter.cut({ reset: i % 2 === 1 });
            await cutter.requests.until((all) => all.filter(({ request }) => request.startsWith("GET")).length === i + 2, "the next socket");
          }
          await moved();
        } finally {
          over = true;
        }
        await flows;
        await ana.has(told);
        stream.dispose();

        assert.deepEqual(await ana.invoke("Noted"), numbers(noted));
        assert.deepEqual(ana.texts.filter((text) => text !== "flow has ended"), numbers(told).map(String));
        assert.deepEqual(answers, numbers(answers.length));
        assert.deepEqual(ticks, numbers(ticks.length));
        assert.equal(ana.id, id);
        assert.deepEqual(ana.log.entries.filter((e) => "reconnecting" in e || "closed" in e), []);
        assert.deepEqual(cutter.requests.entries.map(({ status }) => status), [200, ...numbers(cuts + 1).map(() => 101)]);
      });
    }

    for (const [how, end] of [["stopped", (node) => cluster.stop(node)], ["killed", (node) => cluster.kill(node)]]) {
      test(`a node that is ${how} ends the session, and the client starts afresh without a storm`, async (t) => {
        const [ana, joe] = await Promise.all([through(t, { reconnect: true }), through(t, {})]);
        const lost = await ana.client.invoke("Node");
        while ((await joe.client.invoke("Node")) !== lost) await joe.client.again();
        const joes = joe.cutter.about("GET /test?").at(-1).request;
        const id = ana.client.id;

        t.after(async () => { if (topology.nodes > 1) await cluster.restart(lost); });
        await end(lost);
        await joe.client.happens("closed", joe.client.log.entries.length - 1);
        if (topology.nodes === 1) await cluster.restart(lost);
        assert.notEqual(await ana.client.reconnected(), id);
        await ana.client.invoke("Note", 1);
        assert.deepEqual(await ana.client.invoke("Noted"), [1], "the session is a new one");
        if (topology.nodes > 1) assert.notEqual(await ana.client.invoke("Node"), lost);

        // The official client tries its old URL once after every end. A socket that is accepted there would have it try for ever.
        const tried = (cutter, token) => cutter.about(token).slice(1).map(({ status }) => status);
        for (const statuses of [tried(ana.cutter, ana.token), tried(joe.cutter, joes)]) {
          assert.ok(statuses.length <= 1 && statuses.every((status) => status === 404 || status === undefined), `${statuses}`);
        }
        if (topology.nodes > 1) assert.deepEqual(tried(ana.cutter, ana.token), [404]);
        assert.equal(await knock(`${url}/test?id=${ana.token}`), 404);
      });
    }

    test("a client that stops ends its session", async (t) => {
      const { client, token } = await through(t, {});
      const bob = await Client.connect(url, { hub: "test" });
      t.after(() => bob.stop());
      await bob.invoke("Join", `end of ${client.id}`);
      await client.stop(); // which does not wait for the server
      await bob.receives("OnDisconnected");
      assert.equal(await knock(`${url}/test?id=${token}`), 404);
    });
  });
}

// knock returns the status with which a WebSocket is refused.
function knock(url) {
  const socket = new WebSocket(url.replace("http", "ws"));
  const answer = new Promise((resolve) => {
    socket.on("open", () => { socket.terminate(); resolve("accepted"); });
    socket.on("unexpected-response", (request, response) => { request.destroy(); resolve(response.statusCode); });
    socket.on("error", (err) => resolve(err.message));
  });
  return within(answer, "the answer to a WebSocket");
}

// polled waits until something holds that nothing tells of.
async function polled(holds, what) {
  const end = Date.now() + patience;
  while (!holds()) {
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
