// The page: it puts the session and the feed together and shows their state.

import { Feed, hue } from "./feed.js";
import { Session } from "./session.js";

const $ = (id) => document.getElementById(id);
const { hub: hubPath, token: tokenPath } = document.body.dataset;
const feed = new Feed($("feed"));
let session = null;

const phases = { connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting", closed: "Not connected" };

// ── Joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────

function begin(name, room) {
  remember(name, room);
  $("join").hidden = true;
  $("chat").hidden = false;
  $("second").href = `/?${new URLSearchParams({ room })}`;
  session = new Session({
    name, room, hubPath, tokenPath,
    on: {
      changed: (s) => { if (s === session) show(s); },
      message: (from, text) => feed.message(from, text, { mine: from === name }),
      system: (text) => feed.event(naming(text), "system"),
      arrived: (s, away) => feed.event(away === null ? `Connected to ${s.who.node}` : `Back on ${s.who.node} after ${seconds(away)}`, "up"),
      failed: (reason) => { $("error").textContent = reason; },
    },
  });
  connect();
}

async function connect() {
  const connecting = session.start();
  $("text").focus();
  await connecting;
}

async function end() {
  const leaving = session;
  session = null;
  await leaving.stop();
  feed.clear();
  $("chat").hidden = true;
  $("join").hidden = false;
  show(leaving);
  $("name").focus();
}

// naming makes the hub's words easier on the eye: one's own id becomes "You", another's is cut short.
function naming(text) {
  const [id] = text.split(" ", 1);
  if (id === session?.who?.connectionId) return "You" + text.slice(id.length);
  return /^[\w-]{22}$/.test(id) ? `${id.slice(0, 6)}…${text.slice(id.length)}` : text;
}

// ── Showing state ────────────────────────────────────────────────────────────────────────────────────────────────

let lastPhase = "closed";

function show(s) {
  $("pill").dataset.phase = s.phase;
  $("phase").textContent = phases[s.phase];
  $("again").textContent = s.reconnects && s.phase !== "closed" ? `${s.reconnects}× reconnected` : "";
  if (s.phase === "reconnecting" && lastPhase === "connected") feed.event(`Lost the connection to ${s.who?.node ?? "its node"}`, "down");
  lastPhase = s.phase;

  const away = s.phase !== "connected";
  $("banner").hidden = !away;
  $("banner").classList.toggle("still", s.phase === "closed");
  $("banner-text").textContent = bannerText(s);
  $("retry").hidden = s.phase !== "closed";
  $("send").disabled = $("room-button").disabled = away;

  $("reconnects").textContent = s.reconnects;
  $("trip").textContent = s.trip === null ? "–" : `${s.trip < 10 ? s.trip.toFixed(1) : Math.round(s.trip)} ms`;
  for (const id of ["node", "node-short"]) {
    $(id).textContent = away ? "–" : s.who?.node ?? "–";
    $(id).style.setProperty("--hue", hue(s.who?.node ?? ""));
  }
  $("transport").textContent = away ? "–" : s.who?.transport ?? "–";
  $("connection").textContent = away ? "–" : s.who?.connectionId ?? "–";
  $("user").textContent = s.who?.userId ?? "anonymous";
  showRoom(s);
  showPeople(s);
}

// showPeople lists who is in the room and who is online, each person once.
function showPeople(s) {
  const away = s.phase !== "connected";
  const here = new Map(); // name → connections
  let unnamed = 0;
  for (const { userId } of away ? [] : s.members) {
    if (userId === null) unnamed++;
    else here.set(userId, (here.get(userId) ?? 0) + 1);
  }
  const online = away ? [] : [...s.online].sort();
  list($("members"), [...here.keys()].sort(), (name) => person(s, name, here.get(name)), unnamed);
  list($("online"), online, (name) => person(s, name, 1), 0);
  $("members-title").hidden = $("members").hidden = !s.room;
  const count = away ? 0 : s.members.length;
  $("tally").textContent = away ? "" : s.room ? `${count} here · ${online.length} online` : `${online.length} online`;
}

const maxShown = 50; // of a list of people

// list fills a list with names; those without one, and those who are too many, are a line of their own.
function list(ul, names, entry, unnamed) {
  const lines = names.slice(0, maxShown).map(entry);
  if (names.length > maxShown) lines.push(line(`and ${names.length - maxShown} more`));
  if (unnamed) lines.push(line(unnamed === 1 ? "one without a name" : `${unnamed} without a name`));
  if (!lines.length) lines.push(line("Nobody yet"));
  ul.replaceChildren(...lines);
}

function person(s, name, connections) {
  const entry = document.createElement("li");
  entry.style.setProperty("--hue", hue(name));
  const text = document.createElement("span");
  text.textContent = name;
  entry.append(text);
  const notes = [name === s.who?.userId ? "you" : "", connections > 1 ? `×${connections}` : ""].filter(Boolean).join(" ");
  if (notes) {
    const note = document.createElement("small");
    note.textContent = notes;
    entry.append(note);
  }
  return entry;
}

function line(text) {
  const entry = document.createElement("li");
  entry.className = "rest";
  entry.textContent = text;
  return entry;
}

function bannerText(s) {
  switch (s.phase) {
    case "closed": return "The connection is closed.";
    case "connecting": return s.attempt ? `No node answers yet. Attempt ${s.attempt + 1}…` : "Connecting…";
    default: return s.attempt ? `Reconnecting, attempt ${s.attempt + 1}…` : "Connection lost. Reconnecting…";
  }
}

function showRoom(s) {
  $("to-room").textContent = s.room ? `Room ${s.room}` : "Room";
  $("room-state").textContent = s.room ? `You are in ${s.room}.` : "You are in no room.";
  const changing = $("room-now").value.trim() !== s.room;
  $("room-button").textContent = s.room && !changing ? "Leave" : "Join";
}

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

// ── What one does ────────────────────────────────────────────────────────────────────────────────────────────────

// attempt runs what a person asked for and shows what went wrong, if anything.
async function attempt(action) {
  $("error").textContent = "";
  try {
    await action();
    return true;
  } catch (err) {
    $("error").textContent = err.message;
    return false;
  }
}

$("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  const room = $("room").value.trim();
  $("room-now").value = room;
  if (name) begin(name, room);
});

$("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  const to = $("composer").elements.to.value;
  const recipient = $("recipient").value.trim();
  if (!text || session?.phase !== "connected") return;
  const sent = await attempt(async () => {
    if (to === "room" && !session.room) throw new Error("Join a room first, or send to everyone.");
    if (to === "user" && !recipient) throw new Error("Say whom to send it to.");
    await session.say(to, recipient, text);
    // The hub sends it to that user alone, so one's own page must show it itself.
    if (to === "user" && recipient !== session.name) feed.message(session.name, text, { mine: true, aside: `to ${recipient}` });
  });
  if (sent) $("text").value = "";
  $("text").focus();
});

$("composer").addEventListener("change", () => {
  const toUser = $("composer").elements.to.value === "user";
  $("recipient").hidden = !toUser;
  if (toUser && !$("recipient").value) $("recipient").focus();
});

$("room-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const room = $("room-now").value.trim();
  await attempt(() => session.enter(room === session.room ? "" : room));
  if (!session.room) $("room-now").value = "";
  remember(session.name, session.room);
  show(session);
});

$("room-now").addEventListener("input", () => session && showRoom(session));
$("leave").addEventListener("click", end);
$("retry").addEventListener("click", connect);
$("reload").addEventListener("click", () => location.reload());

// ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────

function remember(name, room) {
  sessionStorage.setItem("hubfleet", JSON.stringify({ name, room }));
}

function suggestName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  return `${pick(["Calm", "Swift", "Bright", "Quiet", "Bold", "Merry"])} ${pick(["Otter", "Heron", "Tern", "Seal", "Gull", "Orca"])}`;
}

function start() {
  if (!globalThis.signalR) {
    $("missing-source").textContent = document.querySelector("script[defer]").src;
    $("join-form").hidden = true;
    $("missing").hidden = false;
    return;
  }
  const known = JSON.parse(sessionStorage.getItem("hubfleet") ?? "{}");
  const asked = new URLSearchParams(location.search);
  $("name").value = asked.get("name") ?? known.name ?? suggestName();
  $("room").value = asked.get("room") ?? known.room ?? "lobby";
  if (matchMedia("(max-width: 760px)").matches) $("details").open = $("people").open = false;
  $("name").select();
}

start();
