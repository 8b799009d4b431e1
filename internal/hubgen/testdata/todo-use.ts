import { HubConnectionBuilder, Subject } from "@microsoft/signalr";
import { todo, type Task } from "./todo.js";

const connection = new HubConnectionBuilder().withUrl("/todo").build();
const list = todo(connection);

list.on("Changed", (task) => console.log(task.title, task.state));
list.on("Confirm", async (question) => window.confirm(question));

export async function run(): Promise<Task> {
  await connection.start();
  list.Search("milk").subscribe({
    next: (task) => console.log(task.id),
    error: (err) => console.error(err),
    complete: () => console.log("that was all"),
  });

  const titles = new Subject<string>();
  const imported: Promise<number> = list.Import(titles);
  titles.next("buy milk");
  titles.complete();
  console.log(await imported);

  await list.send("Add", "drink milk"); // does not wait for the result
  return list.Add("buy more milk");
}
