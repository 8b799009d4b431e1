// The demo page in a real Chromium.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { Cluster } from "./lib/cluster.js";
import { launch } from "./lib/browser.js";
import { patience } from "./lib/wait.js";

const screens = path.join(tmpdir(), "hubfleet-screens");
mkdirSync(screens, { recursive: true });

let browser;
let contexts = [];
before(async () => { browser = await launch(); });
after(() => browser.close());
afterEach(async () => {
  await Promise.all(contexts.map((context) => context.close()));
  contexts = [];
});

// visit opens the page in a window of its own and fails on any script error or breach of the page's policy.
async function visit(url, { size = "wide", scheme = "light", prepare } = {}) {
  const viewport = size === "wide" ? { width: 1280, height: 800 } : { width: 390, height: 844 };
  const context = await browser.newContext({ viewport, colorScheme: scheme });
  contexts.push(context);
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (err) => page.faults.push(err.message));
  page.on("console", (line) => { if (/Content Security Policy|TrustedScript/i.test(line.text())) page.faults.push(line.text()); });
  if (prepare) await prepare(page);
  await page.goto(url);
  return page;
}

async function join(page, name, room) {
  await page.getByRole("textbox", { name: "Your name" }).fill(name);
  await page.getByRole("textbox", { name: "Room" }).fill(room);
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await phase(page, "connected");
}

const phase = (page, is) => page.locator(`#pill[data-phase=${is}]`).waitFor();
const node = (page) => page.locator("#node").textContent();
const shot = (page, name) => page.screenshot({ path: path.join(screens, `${name}.png`) });

async function say(page, text) {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.getByRole("button", { name: "Send", exact: true }).click();
}

const sees = (page, text) => page.getByRole("log").getByText(text, { exact: true }).waitFor();

describe("three nodes", () => {
  let cluster;
  before(async () => { cluster = await Cluster.start(); });
  after(() => cluster.close());

  test("pages on different nodes see who is there", async () => {
    const ana = await visit(cluster.nodes[0].url);
    await join(ana, "Ana", "hall");
    const room = (page) => page.getByRole("list", { name: "In the room" });
    const online = (page) => page.getByRole("list", { name: "Online" });
    await room(ana).getByText("Ana", { exact: true }).waitFor();
    await online(ana).getByText("Ana", { exact: true }).waitFor();

    const cleo = await visit(cluster.nodes[1].url, { scheme: "dark" });
    const dan = await visit(cluster.nodes[2].url, { size: "narrow" });
    await join(cleo, "Cleo", "hall");
    await join(dan, "Dan", "cellar");
    for (const page of [ana, cleo]) {
      await room(page).getByText("Cleo", { exact: true }).waitFor();
      await online(page).getByText("Dan", { exact: true }).waitFor();
      assert.equal(await room(page).getByText("Dan", { exact: true }).count(), 0);
    }
    await dan.getByText("People", { exact: true }).click();
    await online(dan).getByText("Cleo", { exact: true }).waitFor();
    await say(ana, "Is anybody else here?");
    await sees(cleo, "Is anybody else here?");
    await shot(ana, "people-wide-light");
    await shot(cleo, "people-wide-dark");
    await shot(dan, "people-narrow-light");

    await dan.close(); // which vanishes without a word
    await online(ana).getByText("Dan", { exact: true }).waitFor({ state: "detached" });
    await cleo.getByRole("button", { name: "Leave" }).click();
    await room(ana).getByText("Cleo", { exact: true }).waitFor({ state: "detached" });
    await online(ana).getByText("Cleo", { exact: true }).waitFor();
    for (const page of [ana, cleo]) assert.deepEqual(page.faults, []);
  });

  test("pages on different nodes chat", async () => {
    const ana = await visit(cluster.nodes[0].url);
    const bob = await visit(cluster.nodes[1].url, { size: "narrow", scheme: "dark" });
    await shot(ana, "join-wide-light");
    await shot(bob, "join-narrow-dark");
    await join(ana, "Ana", "attic");
    await join(bob, "Bob", "attic");
    assert.equal(await node(ana), "node-1");
    assert.equal(await node(bob), "node-2");

    await say(ana, "hello from the first node");
    await sees(bob, "hello from the first node");
    await say(bob, "and from the second");
    await sees(ana, "and from the second");

    await ana.getByText("One user").click();
    await ana.getByLabel("User to send to").fill("Bob");
    await say(ana, "for Bob alone");
    await sees(bob, "for Bob alone");
    await sees(ana, "to Bob");

    await ana.getByText("Everyone").click();
    await bob.getByRole("button", { name: "Leave" }).click();
    await bob.getByRole("button", { name: "Join" }).waitFor();
    await say(ana, "whether in a room or not");
    await sees(bob, "whether in a room or not");
    await shot(ana, "chat-wide-light");
    await shot(bob, "chat-narrow-dark");
    assert.deepEqual([...ana.faults, ...bob.faults], []);
  });

  test("a page whose node is killed says so, moves to another and is back in its room", async () => {
    const ana = await visit(cluster.url, { scheme: "dark" });
    await join(ana, "Ana", "cellar");
    const lost = await node(ana);
    const other = cluster.nodes.find((n) => n.name !== lost);
    const bob = await visit(other.url);
    await join(bob, "Bob", "cellar");

    await cluster.kill(lost);
    await ana.getByText(`Lost the connection to ${lost}`).waitFor(); // the state itself may be too short to be caught
    await ana.getByText("1× reconnected").waitFor();
    await phase(ana, "connected");
    assert.notEqual(await node(ana), lost);
    assert.equal(await ana.locator("#reconnects").textContent(), "1");
    await ana.getByText(/^Back on node-\d after/).waitFor();
    await say(bob, "good to have you back");
    await sees(ana, "good to have you back");
    await shot(ana, "back-wide-dark");
    assert.deepEqual(ana.faults, []);
    await cluster.restart(lost);
  });
});

describe("one process", () => {
  let cluster;
  before(async () => { cluster = await Cluster.start({ nodes: 1, redis: "none" }); });
  after(() => cluster.close());

  test("a page shows that it is reconnecting for as long as there is no node, and closes when told", async () => {
    const ana = await visit(cluster.nodes[0].url, { size: "narrow" });
    await join(ana, "Ana", "lobby");
    await cluster.kill("node-1");
    await phase(ana, "reconnecting");
    await ana.getByText(/^Reconnecting, attempt [2-9]/).waitFor();
    await shot(ana, "reconnecting-narrow-light");
    await cluster.restart("node-1");
    await phase(ana, "connected");

    await ana.locator("#details > summary").click();
    await ana.getByRole("button", { name: "Disconnect" }).click();
    await ana.getByRole("button", { name: "Connect", exact: true }).waitFor();
    await phase(ana, "closed");
    assert.deepEqual(ana.faults, []);
  });
});

describe("with tokens", () => {
  let cluster;
  before(async () => {
    cluster = await Cluster.start({ nodes: 1, redis: "none", args: ["--auth-jwt-secret", "a secret that only the tests know, 32 bytes"] });
  });
  after(() => cluster.close());

  test("the page gets one by itself", async () => {
    const ana = await visit(cluster.url);
    await join(ana, "Ana Lima", "lobby");
    assert.equal(await ana.locator("#user").textContent(), "Ana Lima");
    assert.deepEqual(ana.faults, []);
  });
});

describe("without the npm package", () => {
  let cluster;
  let empty;
  before(async () => {
    empty = await mkdtemp(path.join(tmpdir(), "hubfleet-empty-"));
    cluster = await Cluster.start({ nodes: 1, redis: "none", cwd: empty });
  });
  after(async () => { await cluster.close(); await rm(empty, { recursive: true }); });

  const cdn = "https://cdn.jsdelivr.net/npm/@microsoft/signalr@*/dist/browser/signalr.min.js";
  const serve = (content) => ({ contentType: "text/javascript", headers: { "access-control-allow-origin": "*" }, body: content });
  const client = readFileSync(new URL("./node_modules/@microsoft/signalr/dist/browser/signalr.min.js", import.meta.url), "utf8");

  test("the page takes the client from the CDN", async () => {
    const page = await visit(cluster.url, { prepare: (p) => p.route(cdn, (route) => route.fulfill(serve(client))) });
    await join(page, "Ana", "lobby");
    assert.deepEqual(page.faults, []);
  });

  test("the page refuses another file in its place", async () => {
    const page = await visit(cluster.url, { prepare: (p) => p.route(cdn, (route) => route.fulfill(serve(`${client} `))) });
    await page.getByRole("heading", { name: "The SignalR client is missing" }).waitFor();
  });

  test("the page says what to do when there is no client at all", async () => {
    const page = await visit(cluster.url, { prepare: (p) => p.route(cdn, (route) => route.abort()) });
    await page.getByRole("heading", { name: "The SignalR client is missing" }).waitFor();
    assert.ok(!(await page.getByRole("button", { name: "Connect", exact: true }).isVisible()));
    await shot(page, "missing-wide-light");
    assert.deepEqual(page.faults, []);
  });
});
