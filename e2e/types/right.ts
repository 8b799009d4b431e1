// Right uses of what hubgen writes for the sample hub. The compiler accepts them, and the test runs them.

import { type HubConnection, Subject } from "@microsoft/signalr";
import { chatHub, type ChatClient, type ChatHub, type Identity } from "./chat.js";

// A value of a hub's type is whatever has its methods: a stand-in for tests, for example.
export const silent: Pick<ChatHub, "SendMessage"> = { SendMessage: async () => {} };

// say returns what it hears while it talks to the hub.
export async function say(connection: HubConnection): Promise<string[]> {
  const chat = chatHub(connection);
  const heard: string[] = [];

  // next is the next message; its listener is gone when it is there.
  const next = () => new Promise<string>((resolve) => {
    const listener: ChatClient["ReceiveMessage"] = (user, message) => {
      chat.off("ReceiveMessage", listener);
      resolve(`${user.trim()}: ${message.trim()}`);
    };
    chat.on("ReceiveMessage", listener);
  });
  let message = next();
  await chat.SendMessage("ada", "invoked");
  heard.push(await message);
  message = next();
  await chat.send("SendMessage", "ada", "sent");
  heard.push(await message);

  // A handler may leave out what it does not need, and may be asynchronous.
  const joined = new Promise<void>((resolve) => chat.on("SystemMessage", async () => resolve()));
  await chat.JoinRoom("attic");
  await joined;
  chat.off("SystemMessage");
  await chat.LeaveRoom("attic");

  const who: Identity = await chat.WhoAmI();
  heard.push(who.userId === null ? "anonymous" : who.userId.toUpperCase());
  const echo: unknown = await chat.Echo({ deep: [1, null] });
  heard.push(JSON.stringify(echo));
  return heard;
}

// count adds up what the hub streams, and a half for each number, by streaming it back.
export async function count(connection: HubConnection, to: number): Promise<number> {
  const chat = chatHub(connection);
  const numbers = new Subject<number>();
  const sum = chat.Sum(numbers);
  chat.Counter(to, 0).subscribe({
    next: (n) => numbers.next(n + 0.5),
    error: (err) => numbers.error(err),
    complete: () => numbers.complete(),
  });
  return await sum;
}
