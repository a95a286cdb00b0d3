import { messageOf } from "../../base/errors.ts";

/** How an exec or attach ended. */
export type Outcome = { kind: "exited"; exitCode: number; cmd: readonly string[] } | { kind: "failed"; message: string };

/** What the error stream says about a failure, in the words that kubectl users know (k8s.io/cri-streaming, remotecommand). */
export function failed(what: "exec" | "attach", error: unknown): Outcome {
  const doing = what === "exec" ? "error executing command in container" : "error attaching to container";
  return { kind: "failed", message: `Internal error occurred: ${doing}: ${messageOf(error)}` };
}

/**
 * The content of the error stream. From v4 on it is a metav1.Status as JSON, always sent; clients take the exit code from its causes.
 * Before that it is plain text, and nothing at all for success.
 */
export function encodeOutcome(outcome: Outcome, options: { json: boolean }): string {
  const message = messageFor(outcome);
  if (!options.json) return message ?? "";
  if (message === undefined) return JSON.stringify({ metadata: {}, status: "Success" });
  if (outcome.kind === "failed") {
    return JSON.stringify({ metadata: {}, status: "Failure", message, reason: "InternalError", code: 500 });
  }
  const details = { causes: [{ reason: "ExitCode", message: String(outcome.exitCode) }] };
  return JSON.stringify({ metadata: {}, status: "Failure", message, reason: "NonZeroExitCode", details });
}

function messageFor(outcome: Outcome): string | undefined {
  if (outcome.kind === "failed") return outcome.message;
  const { exitCode, cmd } = outcome;
  if (exitCode === 0) return undefined;
  return `command terminated with non-zero exit code: error executing command [${cmd.join(" ")}], exit code ${exitCode}`;
}
