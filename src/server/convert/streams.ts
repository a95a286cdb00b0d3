import { badField } from "./fields.ts";

/** What the field's streaming servers demand of exec and attach. */
export function checkStreams(streams: { tty: boolean; stdin: boolean; stdout: boolean; stderr: boolean }): void {
  const { tty, stdin, stdout, stderr } = streams;
  if (tty && stderr) throw badField("stderr", "cannot go with tty: a terminal has one output");
  if (!stdin && !stdout && !stderr) throw badField("stdin, stdout, stderr", "one of them must be set");
}
