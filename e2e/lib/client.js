// A client with what it received written down: the official one, unless told otherwise.

import { HttpTransportType, HubConnectionBuilder, JsonHubProtocol, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";
import { Log, patience, within } from "./wait.js";

export const protocols = { JSON: JsonHubProtocol, MessagePack: MessagePackHubProtocol };

// official makes a connection of the official client. transport and protocol are given by their names; reconnect tries for ever, or, when it is
// "as it comes", as often as the client does by itself.
function official(url, { transport, protocol = "JSON", reconnect, stateful, skipNegotiation, token }) {
  const options = { transport: HttpTransportType[transport] };
  if (skipNegotiation) Object.assign(options, { skipNegotiation, transport: HttpTransportType.WebSockets });
  if (token) options.accessTokenFactory = () => token;
  let builder = new HubConnectionBuilder().withUrl(url, options).configureLogging(LogLevel.None).withHubProtocol(new protocols[protocol]());
  if (reconnect === "as it comes") builder = builder.withAutomaticReconnect();
  else if (reconnect) builder = builder.withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 50 });
  if (stateful) builder = builder.withStatefulReconnect();
  return builder.build();
}

// Each test file collects its clients here, so that none is forgotten.
const open = new Set();

export class Client {
  log = new Log(); // {message: [from, text]}, {system: text}, {reconnecting}, {reconnected: id}, {closed: error}
  messages = []; // the messages alone, as [from, text]

  // options: build (the connection of another client than the official one), hub, user, and what build takes.
  constructor(url, { build = official, hub = "chat", user, ...options } = {}) {
    this.connection = build(`${url}/${hub}${user ? `?user=${encodeURIComponent(user)}` : ""}`, options);
    this.connection.on("ReceiveMessage", (...args) => {
      this.messages.push(args);
      this.log.add({ message: args });
    });
    this.connection.on("SystemMessage", (text) => this.log.add({ system: text }));
    this.connection.onreconnecting((err) => this.log.add({ reconnecting: err?.message ?? "" }));
    this.connection.onreconnected((id) => this.log.add({ reconnected: id }));
    this.connection.onclose((err) => this.log.add({ closed: err?.message ?? "" }));
    open.add(this);
  }

  static async connect(url, options) {
    const client = new Client(url, options);
    await within(client.connection.start(), `connecting to ${url}`);
    return client;
  }

  get id() { return this.connection.connectionId; }
  get texts() { return this.messages.map(([, text]) => text); }

  invoke(method, ...args) { return within(this.connection.invoke(method, ...args), `${method} to return`); }

  // error returns the text with which a call fails.
  async error(method, ...args) {
    const result = await this.invoke(method, ...args).then((value) => ({ value }), (err) => ({ err }));
    if (!result.err) throw new Error(`${method} succeeded with ${`${JSON.stringify(result.value)}`.slice(0, 200)}`);
    return result.err.message;
  }

  // stream collects what a stream brings: the items, and the error's text, if it ended with one.
  stream(method, ...args) {
    const items = [];
    const ended = new Promise((resolve) => this.connection.stream(method, ...args).subscribe({
      next: (item) => items.push(item),
      complete: () => resolve({ items }),
      error: (err) => resolve({ items, error: err.message }),
    }));
    return within(ended, `${method} to end`);
  }

  // receives waits for a message with this text.
  async receives(text) {
    return (await this.log.first((e) => e.message?.[1] === text, `the message ${JSON.stringify(text)}`)).message;
  }

  // has waits until so many messages have come in all.
  has(count) { return this.log.until(() => this.messages.length >= count, `${count} messages`, 2 * patience); }

  hears(text) { return this.log.first((e) => e.system === text, `the system message ${JSON.stringify(text)}`); }

  happens(kind, from = 0) { return this.log.first((e) => kind in e, kind, from); }

  // reconnected returns the new id once the client is back.
  async reconnected() { return (await this.happens("reconnected")).reconnected; }

  // again starts it anew, wherever it then goes.
  again() { return within(this.connection.stop().then(() => this.connection.start()), "the client to start again"); }

  async stop() {
    open.delete(this);
    await within(this.connection.stop(), "the client to stop");
  }
}

export async function stopAll() {
  await Promise.all([...open].map((client) => client.stop()));
}

let fences = 0;

// settled returns when what was sent before by whoever has returned has had its chance to arrive: a message to all has
// gone through to every one of the clients.
export async function settled(...clients) {
  const text = `fence ${++fences}`;
  await clients[0].invoke("SendMessage", "fence", text);
  await Promise.all(clients.map((client) => client.receives(text)));
}
