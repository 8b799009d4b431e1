// The official client's browser build in a page of its own, driven from here.

import { readFileSync } from "node:fs";
import { patience, within } from "./wait.js";

const script = (file) => readFileSync(new URL(`../node_modules/@microsoft/${file}`, import.meta.url), "utf8");
const scripts = [script("signalr/dist/browser/signalr.min.js"), script("signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.min.js")];

export class Page {
  #page;

  // connect opens a page and starts a client there.
  static async connect(browser, url, { transport, protocol, user }) {
    const page = new Page();
    const context = await browser.newContext({ bypassCSP: true });
    context.setDefaultTimeout(patience);
    page.#page = await context.newPage();
    // The page must come from the hub's own address: browsers tell where it is from, and nodes look at that. Which page does not
    // matter, so it is the one that says that there is none.
    await page.#page.goto(`${url}/no-such-page`);
    for (const content of scripts) await page.#page.addScriptTag({ content });
    await page.#evaluate(start, { transport, protocol, user });
    return page;
  }

  #evaluate(f, arg) { return within(this.#page.evaluate(f, arg), "the page to answer"); }

  get id() { return this.#evaluate(() => client.connectionId); }
  invoke(...call) { return this.#evaluate((args) => client.invoke(...args), call); }

  // stream returns the items of a whole stream.
  stream(...call) {
    return this.#evaluate((args) => new Promise((complete, error) => {
      const items = [];
      client.stream(...args).subscribe({ next: (item) => items.push(item), complete: () => complete(items), error });
    }), call);
  }

  receives(text) { return this.#page.waitForFunction((wanted) => texts.includes(wanted), text); }

  // reconnected returns the new id once the client is back.
  async reconnected() {
    await this.#page.waitForFunction(() => back.length > 0);
    return this.#evaluate(() => back.shift());
  }

  // again starts it anew, wherever it then goes.
  again() { return this.#evaluate(() => client.stop().then(() => client.start())); }

  async stop() {
    await this.#evaluate(() => client.stop());
    await this.#page.context().close();
  }
}

// start runs in the page.
async function start({ transport, protocol, user }) {
  const { HttpTransportType, HubConnectionBuilder, JsonHubProtocol, LogLevel, protocols } = signalR;
  globalThis.texts = [];
  globalThis.back = [];
  globalThis.client = new HubConnectionBuilder()
    .withUrl(`/chat?user=${encodeURIComponent(user)}`, { transport: HttpTransportType[transport] })
    .withHubProtocol(protocol === "MessagePack" ? new protocols.msgpack.MessagePackHubProtocol() : new JsonHubProtocol())
    .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 50 })
    .configureLogging(LogLevel.None)
    .build();
  client.on("ReceiveMessage", (_, text) => { texts.push(text); });
  client.onreconnected((id) => { back.push(id); });
  await client.start();
}
