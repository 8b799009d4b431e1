// One person's connection to the hub: it stays connected for as long as it is wanted, and is back in its room after
// every reconnect. It knows no page; whoever makes it is told of every change.

const { HubConnectionBuilder, HubConnectionState, LogLevel } = globalThis.signalR ?? {};

// retryDelay is how long to wait before an attempt: at once, then longer, for ever, and not everybody at the same time.
export function retryDelay(attempt) {
  const steps = [0, 500, 1000, 2000, 4000];
  const base = steps[Math.min(attempt, steps.length - 1)];
  return base / 2 + Math.random() * base;
}

export class Session {
  #connection;
  #on;
  #wanted = true;
  #wake = () => {};
  #lostAt = 0;
  #early = null; // changes of presence that came before what they change
  #asking = null; // the timer of the next question who is in the room

  phase = "connecting"; // "connecting", "connected", "reconnecting" or "closed"
  attempt = 0;
  reconnects = 0;
  room = "";
  who = null; // what WhoAmI said last
  trip = null; // milliseconds of the last call
  online = new Set(); // the users who are online, on any node
  members = []; // who is in the room, on any node: [{connectionId, userId}]

  // on has changed(session), message(from, text), system(text), arrived(session, milliseconds away or null) and
  // failed(reason).
  constructor({ name, room, hubPath, tokenPath, on }) {
    this.name = name;
    this.room = room;
    this.#on = on;
    const query = tokenPath ? "" : `?user=${encodeURIComponent(name)}`;
    const options = tokenPath ? { accessTokenFactory: () => fetchToken(tokenPath, name) } : {};
    this.#connection = new HubConnectionBuilder()
      .withUrl(hubPath + query, options)
      .withAutomaticReconnect({ nextRetryDelayInMilliseconds: (retry) => this.#nextRetry(retry) })
      .configureLogging(LogLevel.Warning)
      .build();
    this.#connection.on("ReceiveMessage", (from, text) => on.message(from, text));
    this.#connection.on("SystemMessage", (text) => {
      on.system(text);
      this.#askSoon();
    });
    this.#connection.on("PresenceChanged", (user, online) => {
      if (this.#early) this.#early.push([user, online]);
      else this.#present(user, online);
    });
    this.#connection.onreconnecting(() => {
      this.#lostAt = performance.now();
      this.#change("reconnecting");
    });
    this.#connection.onreconnected(() => this.#back());
    this.#connection.onclose(() => this.#change("closed"));
  }

  // start connects, however often it takes, and returns when connected or no longer wanted.
  async start() {
    for (this.attempt = 0; this.#wanted; this.attempt++) {
      this.#change("connecting");
      try {
        await this.#connection.start();
      } catch (err) {
        if (this.attempt === 0) console.warn("hubfleet demo: not connected yet:", err.message);
        await this.#pause(retryDelay(this.attempt + 1));
        continue;
      }
      return this.#arrive(null);
    }
  }

  async stop() {
    this.#wanted = false;
    clearTimeout(this.#asking);
    this.#wake();
    await this.#connection.stop();
    this.#change("closed");
  }

  async say(to, recipient, text) {
    switch (to) {
      case "room": return this.#call("SendToRoom", this.room, this.name, text);
      case "user": return this.#call("SendToUser", recipient, this.name, text);
      default: return this.#call("SendMessage", this.name, text);
    }
  }

  // enter leaves the room one is in and joins another; an empty name is no room.
  async enter(room) {
    if (this.room && this.room !== room) await this.#call("LeaveRoom", this.room);
    this.room = room;
    if (room) await this.#call("JoinRoom", room);
    this.members = [];
    this.#askSoon(0);
    this.#change(this.phase);
  }

  async #call(method, ...args) {
    const began = performance.now();
    const result = await this.#connection.invoke(method, ...args);
    this.trip = performance.now() - began;
    this.#on.changed(this);
    return result;
  }

  #nextRetry({ previousRetryCount }) {
    this.attempt = previousRetryCount;
    this.#on.changed(this);
    return retryDelay(previousRetryCount);
  }

  async #back() {
    this.reconnects++;
    await this.#arrive(performance.now() - this.#lostAt);
  }

  // arrive asks who one is here and goes (back) to the room: a new connection is in no group.
  async #arrive(away) {
    try {
      this.who = await this.#call("WhoAmI");
      this.#on.arrived(this, away);
      await this.#watch();
      if (this.room) await this.#call("JoinRoom", this.room);
    } catch (err) {
      // Lost again on the way: the next return comes here, too.
      if (this.#connection.state !== HubConnectionState.Connected) return;
      this.#on.failed(`Could not go to ${this.room}: ${err.message}`);
      this.room = "";
    }
    this.#askSoon(0);
    this.attempt = 0;
    this.#change("connected");
  }

  // watch learns who is online, and from then on who comes and goes. The server sends the changes behind its answer; both may be
  // in one message, though, and then the handler is called before whoever waits for the answer goes on.
  async #watch() {
    this.#early = [];
    try {
      this.online = new Set(await this.#call("WatchPresence"));
    } finally {
      const early = this.#early;
      this.#early = null;
      for (const change of early) this.#present(...change);
    }
  }

  #present(user, online) {
    if (online) this.online.add(user);
    else this.online.delete(user);
    this.#askSoon();
    this.#on.changed(this);
  }

  // askSoon asks who is in the room: soon, and then again every now and then, as those who vanish leave without a word.
  #askSoon(after = 200) {
    clearTimeout(this.#asking);
    if (this.#wanted) this.#asking = setTimeout(() => this.#ask(), after);
  }

  async #ask() {
    const room = this.room;
    try {
      const members = room ? await this.#connection.invoke("RoomMembers", room) : [];
      if (room === this.room) this.members = members;
      this.#on.changed(this);
    } catch {
      // The connection is away, or a node is; it is asked again.
    }
    this.#askSoon(10_000);
  }

  #change(phase) {
    this.phase = phase;
    this.#on.changed(this);
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => { clearTimeout(timer); resolve(); };
    });
  }
}

async function fetchToken(path, name) {
  const response = await fetch(`${path}?user=${encodeURIComponent(name)}`, { cache: "no-store" });
  if (!response.ok) throw new Error(`no token for ${name}: status ${response.status}`);
  return (await response.text()).trim();
}
