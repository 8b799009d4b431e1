// Wrong uses of what hubgen writes for the sample hub. Each line that is wrong says which error the compiler must find
// in it; the test fails when it finds another, none, or one anywhere else.

import { type HubConnection, Subject } from "@microsoft/signalr";
import { chatHub, type ChatClient, type Identity } from "./chat.js";

export async function wrong(connection: HubConnection): Promise<void> {
  const chat = chatHub(connection);

  chat.SendMesage("ada", "hello"); // TS2551: Property 'SendMesage' does not exist on type 'ChatHubConnection'. Did you mean 'SendMessage'?
  chat.OnConnected(); // TS2339: Property 'OnConnected' does not exist on type 'ChatHubConnection'.
  chat.SendMessage("ada"); // TS2554: Expected 2 arguments, but got 1.
  chat.SendMessage("ada", "hello", "again"); // TS2554: Expected 2 arguments, but got 3.
  chat.SendMessage("ada", 7); // TS2345: Argument of type 'number' is not assignable to parameter of type 'string'.
  chat.SendMessage("ada", null); // TS2345: Argument of type 'null' is not assignable to parameter of type 'string'.
  chat.Echo(); // TS2554: Expected 1 arguments, but got 0.

  const text: string = await chat.SendMessage("ada", "hello"); // TS2322: Type 'void' is not assignable to type 'string'.
  const who: Identity = await chat.WhoAmI();
  who.userId.trim(); // TS18047: 'who.userId' is possibly 'null'.
  who.connectionID; // TS2551: Property 'connectionID' does not exist on type 'Identity'. Did you mean 'connectionId'?
  (await chat.Echo(text)).length; // TS2571: Object is of type 'unknown'.

  (await chat.Counter(3, 0)).toFixed(); // TS2339: Property 'toFixed' does not exist on type 'IStreamResult<number>'.
  chat.Counter("3", 0); // TS2345: Argument of type 'string' is not assignable to parameter of type 'number'.
  chat.Sum([1, 2]); // TS2345: Argument of type 'number[]' is not assignable to parameter of type 'Subject<number>'.
  chat.Sum(new Subject<string>()); // TS2345: Argument of type 'Subject<string>' is not assignable to parameter of type 'Subject<number>'.

  chat.send("Counter", 3, 0); // TS2345: Argument of type '"Counter"' is not assignable to parameter of type '"SendMessage" | "SendToOthers" | "SendToUser" | "SendToConnection" | "JoinRoom" | "LeaveRoom" | "SendToRoom" | "Echo" | "Sum" | "WhoAmI" | "Online" | "RoomMembers" | "WatchPresence" | "Fail"'.
  chat.send("SendMessage", "ada"); // TS2554: Expected 3 arguments, but got 2.
  chat.send("sendMessage", "ada", "hello"); // TS2345: Argument of type '"sendMessage"' is not assignable to parameter of type '"SendMessage" | "SendToOthers" | "SendToUser" | "SendToConnection" | "JoinRoom" | "LeaveRoom" | "SendToRoom" | "Echo" | "Sum" | "WhoAmI" | "Online" | "RoomMembers" | "WatchPresence" | "Fail"'.

  chat.on("ReceivedMessage", () => {}); // TS2345: Argument of type '"ReceivedMessage"' is not assignable to parameter of type 'keyof ChatClient'.
  chat.on("ReceiveMessage", (user: string, message: string, room: string) => room); // TS2345: Argument of type '(user: string, message: string, room: string) => string' is not assignable to parameter of type '(user: string, message: string) => void'.
  chat.on("ReceiveMessage", (user: number) => {}); // TS2345: Argument of type '(user: number) => void' is not assignable to parameter of type '(user: string, message: string) => void'.
  chat.on("SystemMessage", (text: "only this") => {}); // TS2345: Argument of type '(text: "only this") => void' is not assignable to parameter of type '(text: string) => void'.
  chat.off("SystemMessage", (text: number) => {}); // TS2345: Argument of type '(text: number) => void' is not assignable to parameter of type '(text: string) => void'.
  const listener: ChatClient["SystemMessage"] = (text) => text.nothing; // TS2339: Property 'nothing' does not exist on type 'string'.
  chat.on("SystemMessage", listener);

  chatHub("http://localhost:8080/chat"); // TS2345: Argument of type 'string' is not assignable to parameter of type 'HubConnection'.
}
