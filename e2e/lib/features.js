// What a client may do, each feature as one check that holds over every transport, in every encoding, on however many nodes.
//
// A check gets a connect function, which returns a client of the kind under test wherever the balancer puts it, and a
// name that no other check uses at the same time.

import assert from "node:assert/strict";
import { Subject } from "@microsoft/signalr";
import { protocols, settled } from "./client.js";
import { within } from "./wait.js";

const numbers = (count) => Array.from({ length: count }, (_, i) => i);
const unexpected = (method, text = "") => `An unexpected error occurred invoking '${method}' on the server.${text && ` HubException: ${text}`}`;
const failed = (method, text = "") => `Failed to invoke '${method}' due to an error on the server.${text && ` HubException: ${text}`}`;
const brokenStream = (text = "") => `An error occurred on the server while streaming results.${text && ` HubException: ${text}`}`;

async function invoke({ connect, name, transport, protocol }) {
  const ana = await connect({ user: name });
  const { node, ...rest } = await ana.invoke("WhoAmI");
  assert.deepEqual(rest, { connectionId: ana.id, userId: name, transport });
  const values = [
    null, true, -1, 2 ** 53 - 1, 1.5, "", "Grüße, 世界 🎉 <b>&amp;</b>", "\u0000\u001e\"\\/\r\n\n\r\u2028", [], [1, [2, [3]]], {},
    { b: 1, a: { Nested: [null, { x: "y" }] } },
  ];
  if (protocol === "MessagePack") values.push(new Uint8Array([0, 30, 255]), new Date(1491868800000), { at: [new Date(1491868800123)] });
  for (const value of values) assert.deepEqual(await ana.invoke("eCHO", value), value);
  assert.deepEqual(await Promise.all(numbers(20).map((i) => ana.invoke("Echo", i))), numbers(20));
  await ana.connection.send("SendToUser", name, "ana", "no answer wanted");
  await ana.receives("no answer wanted");
}

async function errors({ connect }) {
  const ana = await connect();
  const calls = [
    [["Nope"], failed("Nope", "Method does not exist.")],
    [["SendMessage", "ana"], failed("SendMessage")],
    [["SendMessage", 1, { a: 2 }], failed("SendMessage")],
    [["Fail", "the <door> is “shut”"], unexpected("Fail", "the <door> is “shut”")],
    [["Counter", 1, 0], "The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation."],
    [["Sum"], unexpected("Sum", "Client sent 0 stream(s), Hub method expects 1.")],
  ];
  for (const [call, text] of calls) assert.equal(await ana.error(...call), text);
  const streams = [
    [["Nope"], failed("Nope", "Method does not exist.")],
    [["Echo", 1], "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation."],
    [["Counter", -1, 0], unexpected("Counter", "Counter counts from 0 to at most 1000000, not to -1.")],
  ];
  for (const [call, text] of streams) assert.deepEqual(await ana.stream(...call), { items: [], error: text });
  assert.equal(await ana.invoke("Echo", "still here"), "still here");
}

async function targets({ connect, name }) {
  const [u, v] = [`${name} u`, `${name} v`];
  const people = await Promise.all([u, u, v, undefined].map((user) => connect({ hub: "test", user })));
  const [ana, bob, eve, joe] = people;
  const [g, h] = [`${name} g`, `${name} h`];
  for (const [who, group] of [[ana, g], [bob, g], [bob, h], [eve, h]]) await who.invoke("Join", group);
  const sends = [ // target, names, how often each of the four gets it
    ["All", [], [1, 1, 1, 1]],
    ["AllExcept", [bob.id], [1, 0, 1, 1]],
    ["Caller", [], [1, 0, 0, 0]],
    ["Others", [], [0, 1, 1, 1]],
    ["Client", [joe.id], [0, 0, 0, 1]],
    ["Clients", [bob.id, joe.id, joe.id], [0, 1, 0, 1]],
    ["Group", [g], [1, 1, 0, 0]],
    ["Groups", [g, h], [1, 2, 1, 0]],
    ["GroupExcept", [g, bob.id], [1, 0, 0, 0]],
    ["OthersInGroup", [g], [0, 1, 0, 0]],
    ["User", [u], [1, 1, 0, 0]],
    ["Users", [u, v], [1, 1, 1, 0]],
  ];
  for (const [target, names] of sends) await ana.invoke("Send", target, names, name);
  const got = (who) => sends.map(([target]) => who.messages.filter(([from, text]) => from === target && text === name).length);
  const wanted = people.map((_, i) => sends.map(([, , counts]) => counts[i]));
  await Promise.all(people.map((who, i) => who.log.until(() => got(who).every((n, j) => n >= wanted[i][j]), "all messages")));
  await ana.invoke("Send", "All", [], `${name} fence`); // what is too much has come by then
  await Promise.all(people.map((who) => who.receives(`${name} fence`)));
  assert.deepEqual(people.map(got), wanted);
}

async function groups({ connect, name: room }) {
  const [ana, bob, eve] = await Promise.all([connect(), connect(), connect()]);
  await ana.invoke("JoinRoom", room);
  await ana.hears(`${ana.id} joined ${room}`);
  await bob.invoke("JoinRoom", room);
  await ana.hears(`${bob.id} joined ${room}`);
  await eve.invoke("JoinRoom", room.toLowerCase()); // which is another
  await eve.invoke("SendToRoom", room, "eve", `${room} 1`);
  await Promise.all([ana.receives(`${room} 1`), bob.receives(`${room} 1`)]);
  await bob.invoke("LeaveRoom", room);
  await ana.hears(`${bob.id} left ${room}`);
  await eve.invoke("SendToRoom", room, "eve", `${room} 2`);
  await ana.receives(`${room} 2`);
  await settled(ana, bob, eve);
  const got = (who) => who.texts.filter((text) => text.startsWith(room));
  assert.deepEqual([ana, bob, eve].map(got), [[`${room} 1`, `${room} 2`], [`${room} 1`], []]);
}

async function streamDown({ connect }) {
  const [ana, bob] = [await connect(), await connect({ hub: "test" })];
  assert.deepEqual(await Promise.all([300, 0, 100].map((n) => ana.stream("Counter", n, 0))), [300, 0, 100].map((n) => ({ items: numbers(n) })));
  assert.deepEqual(await ana.stream("Counter", 5, 5), { items: numbers(5) });
  assert.deepEqual(await bob.stream("Break", 3, true), { items: numbers(3), error: brokenStream("It broke after 3.") });
  assert.deepEqual(await bob.stream("Break", 3, false), { items: numbers(3), error: brokenStream() });
}

async function streamUp({ connect }) {
  const [ana, bob] = [await connect(), await connect({ hub: "test" })];
  const sum = async (count, error) => {
    const subject = new Subject();
    const result = ana.invoke("Sum", subject).catch((err) => err.message);
    for (const n of numbers(count)) subject.next(n + 0.5);
    if (error) subject.error(error);
    else subject.complete();
    return result;
  };
  assert.deepEqual(await Promise.all([sum(30), sum(0), sum(20)]), [450, 0, 200]);
  assert.equal(await sum(3, new Error("no more")), unexpected("Sum", "The stream of numbers broke: no more"));

  const [left, right] = [new Subject(), new Subject()];
  // The hub takes from both in turn; what one sends ahead of the other must fit into the buffer, or the other is not read.
  const zipped = bob.stream("Zip", left, "+", right);
  for (const i of numbers(8)) { left.next(`l${i}`); right.next(`r${i}`); }
  right.complete();
  left.complete(); // the last word: the hub ends with it, and the client must have nothing left to send when it is stopped
  assert.deepEqual(await zipped, { items: numbers(8).map((i) => `l${i}+r${i}`) });
}

async function cancel({ connect, name }) {
  const [ana, bob] = [await connect(), await connect({ hub: "test" })];
  // An endless stream whose hub tells how it ended, and a long one; each is left after a few items.
  for (const [client, call] of [[bob, ["Ticks", name]], [ana, ["Counter", 1_000_000, 1]]]) {
    const items = [];
    let stream;
    await new Promise((resolve, reject) => {
      const next = (item) => { items.push(item); if (items.length === 3) resolve(); };
      stream = client.connection.stream(...call).subscribe({ next, error: reject, complete: () => reject(new Error("it ended by itself")) });
    });
    stream.dispose();
    const got = items.length;
    if (client === bob) await bob.receives(`${name} has ended`);
    else await ana.invoke("Echo", 1);
    assert.equal(items.length, got);
  }
}

async function clientResults({ connect, program }) {
  const options = { hub: "test" };
  const [ana, bob, eve, joe] = await Promise.all([connect(options), connect(options), connect(options), connect(options)]);
  let asked;
  const thinking = new Promise((resolve) => { asked = resolve; });
  bob.connection.on("Answer", async (question) => {
    if (question === "refuse") throw new Error("I will not say");
    return `${question}? Yes!`;
  });
  joe.connection.on("Answer", () => { asked(); return new Promise(() => {}); });
  ana.connection.on("Answer", (question) => `${question}? That is me.`);
  const ask = (whom, question, wait = 0) => ana.invoke("Ask", whom, question, wait);
  assert.deepEqual(await Promise.all([1, 2, 3].map((i) => ask(bob.id, `q${i}`))), [1, 2, 3].map((i) => `q${i}? Yes!`));
  assert.equal(await ask(ana.id, "who"), "who? That is me.");

  const refusal = (whom, question, wait = 0) => ana.error("Ask", whom, question, wait);
  assert.equal(await refusal(bob.id, "refuse"), unexpected("Ask", program === "Go" ? "I will not say" : "Error: I will not say"));
  assert.equal(await refusal(eve.id, "you there"), unexpected("Ask", "Client didn't provide a result."));
  assert.match(await refusal("nobody-has-this-id-123", "you"), /Connection 'nobody-has-this-id-123' does not exist$/);
  const pending = refusal(joe.id, "think");
  await within(thinking, "the question to arrive");
  assert.match(await refusal(joe.id, "hurry", 50), /invocation canceled by the server: context deadline exceeded$/);
  await joe.stop();
  assert.match(await pending, /HubException: .*Connection '[\w-]{22}' disconnected$/); // wherever it was
}

async function large({ connect, name, program, protocol }) {
  const limit = 32 * 1024;
  const [ana, bob] = [await connect({ user: name }), await connect({ hub: "test" })];
  const streamIds = program === "Go" && protocol === "MessagePack" ? [] : undefined; // which the official client leaves out
  const frame = (text) => new protocols[protocol]().writeMessage({ type: 1, target: "Echo", arguments: [text], invocationId: "0", ...(streamIds && { streamIds }) });
  const size = (text) => frame(text).length ?? frame(text).byteLength; // of a string or of bytes
  const fitting = "x".repeat(limit - (size("x".repeat(30_000)) - 30_000));
  assert.equal(size(fitting), limit);
  assert.equal(await ana.invoke("Echo", fitting), fitting); // the first call, so that its id has one digit
  await ana.invoke("SendToUser", name, "ana", fitting.slice(100));
  await ana.receives(fitting.slice(100));
  assert.equal((await bob.invoke("Large", 700_000)).length, 700_000);

  const eve = await connect();
  const lost = eve.error("Echo", `${fitting}x`);
  assert.match((await eve.happens("closed")).closed, /Connection closed with an error\.$/);
  assert.match(await lost, /Connection closed with an error\.$/);
}

// The table's columns, in order. reconnect needs nodes that die, and stands with the test itself.
export const features = {
  invoke, errors, targets, groups, "stream down": streamDown, "stream up": streamUp, cancel, "client results": clientResults, large,
};

// In a browser other code moves the bytes, while the same code reads them: what tells the difference is enough.
export const essentials = {
  async invoke({ page, user, transport }) {
    const { node, ...rest } = await page.invoke("WhoAmI");
    assert.deepEqual(rest, { connectionId: await page.id, userId: user, transport });
    for (const value of [null, 1.5, "Grüße, 世界 🎉\n", [{ a: [true] }]]) assert.deepEqual(await page.invoke("Echo", value), value);
  },
  async groups({ page, name: room }) {
    await page.invoke("JoinRoom", room);
    await page.invoke("SendToRoom", room, "ana", room);
    await page.receives(room);
  },
  async "stream down"({ page }) {
    assert.deepEqual(await page.stream("Counter", 100, 0), numbers(100));
  },
};
