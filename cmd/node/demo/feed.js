// The list of messages. It only ever writes text, never markup, and forgets the oldest entries.

const maxEntries = 500;
const groupWithin = 3 * 60 * 1000; // messages of one sender that close together share a heading
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

// hue gives a name its colour, the same on every page.
export function hue(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) | 0;
  return ((hash % 360) + 360) % 360;
}

export class Feed {
  #list;
  #last = { from: null, at: 0, aside: "" };

  constructor(list) {
    this.#list = list;
  }

  // message adds what somebody said; aside says to whom when that is not plain.
  message(from, text, { mine = false, aside = "" } = {}) {
    const now = Date.now();
    const follows = this.#last.from === from && this.#last.aside === aside && now - this.#last.at < groupWithin;
    this.#last = { from, at: now, aside };

    const entry = element("article", "message");
    entry.classList.toggle("mine", mine);
    entry.classList.toggle("follows", follows);
    entry.style.setProperty("--hue", hue(from));
    const avatar = element("span", "avatar", [...from][0]?.toUpperCase() ?? "?");
    avatar.setAttribute("aria-hidden", "true");
    const heading = element("header", "", element("b", "", from), element("time", "", clock.format(now)));
    if (aside) heading.append(element("span", "aside", aside));
    entry.append(avatar, heading, element("p", "", text));
    this.#add(entry);
  }

  // event adds a line of what happened: kind is "system" for the hub's words, "up" or "down" for the connection's.
  event(text, kind) {
    this.#last = { from: null, at: 0, aside: "" };
    const entry = element("p", `event ${kind}`, element("span", "", text));
    entry.append(element("time", "", clock.format(Date.now())));
    this.#add(entry);
  }

  clear() {
    this.#last = { from: null, at: 0, aside: "" };
    for (const entry of this.#list.querySelectorAll(".message, .event")) entry.remove();
  }

  // add keeps the newest in view, unless one is reading further up.
  #add(entry) {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    list.append(entry);
    const entries = list.querySelectorAll(".message, .event");
    if (entries.length > maxEntries) entries[0].remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
