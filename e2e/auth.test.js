// Who may come in, when a secret is set.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { Cluster, topologies } from "./lib/cluster.js";
import { Client, stopAll } from "./lib/client.js";
import { within } from "./lib/wait.js";

const secret = "a secret that only the tests know, 32 bytes and more";

function token(claims, key = secret) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

const now = () => Math.floor(Date.now() / 1000);

for (const topology of topologies) {
  describe(topology.name, () => {
    let cluster;
    before(async () => { cluster = await Cluster.start({ ...topology, args: ["--auth-jwt-secret", secret] }); });
    after(async () => { await stopAll(); await cluster.close(); });

    // refused returns why a client cannot start.
    async function refused(options) {
      const client = new Client(cluster.url, options);
      const outcome = await within(client.connection.start().then(() => null, (err) => err), "an answer");
      assert.ok(outcome, "the client was let in");
      return outcome.message;
    }

    test("a valid token is its user's name", async () => {
      const ana = await Client.connect(cluster.url, { token: token({ sub: "ana", exp: now() + 60 }) });
      assert.equal((await ana.invoke("WhoAmI")).userId, "ana");
      const bare = await Client.connect(cluster.url, { token: token({ sub: "bob", exp: now() + 60 }), skipNegotiation: true });
      assert.equal((await bare.invoke("WhoAmI")).userId, "bob");
      await bare.invoke("SendToUser", "ana", "bob", "hello ana");
      await ana.receives("hello ana");
    });

    for (const transport of ["ServerSentEvents", "LongPolling"]) {
      test(`a valid token is let in over ${transport}`, async () => {
        const ana = await Client.connect(cluster.url, { transport, token: token({ sub: "ana", exp: now() + 60 }) });
        const { userId, ...who } = await ana.invoke("WhoAmI");
        assert.deepEqual([userId, who.transport], ["ana", transport]);
        await ana.invoke("SendToUser", "ana", "ana", `over ${transport}`);
        await ana.receives(`over ${transport}`);
      });
    }

    const bad = [
      ["no token", () => undefined],
      ["a token of another key", () => token({ sub: "ana", exp: now() + 60 }, "another secret, which is also long enough")],
      ["an old token", () => token({ sub: "ana", exp: now() - 120 })],
      ["a token without end", () => token({ sub: "ana" })],
      ["garbage", () => "not.a.token"],
    ];
    for (const [name, make] of bad) {
      test(`${name} is refused with 401`, async () => {
        assert.match(await refused({ token: make() }), /Unauthorized: Status code '401'/);
      });
    }

    test("?user= counts for nothing", async () => {
      assert.match(await refused({ user: "ana" }), /Status code '401'/);
      const ana = await Client.connect(cluster.url, { user: "eve", token: token({ sub: "ana", exp: now() + 60 }) });
      assert.equal((await ana.invoke("WhoAmI")).userId, "ana");
    });

    test("a WebSocket without negotiation and token is refused", async () => {
      assert.match(await refused({ skipNegotiation: true }), /failed/i);
    });

    test("the demo page's tokens work while the demo is on", async () => {
      const response = await fetch(`${cluster.url}/demo/token?user=${encodeURIComponent("Zoë K")}`);
      assert.equal(response.status, 200);
      const guest = await Client.connect(cluster.url, { token: (await response.text()).trim() });
      assert.equal((await guest.invoke("WhoAmI")).userId, "Zoë K");
    });
  });
}
