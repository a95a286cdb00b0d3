/** What a request is about, for the log line of its call: ids, names and the image, never contents or credentials. */
export function subjectOf(request: unknown): Record<string, string> {
  const subject: Record<string, string> = {};
  take(subject, "sandbox", request, "podSandboxId");
  take(subject, "container", request, "containerId");
  const config = field(request, "config");
  const metadata = field(config, "metadata");
  if (metadata !== undefined) {
    take(subject, "namespace", metadata, "namespace");
    take(subject, "name", metadata, "name");
  }
  take(subject, "image", field(request, "image") ?? field(config, "image"), "image");
  return subject;
}

function take(subject: Record<string, string>, as: string, from: unknown, key: string): void {
  const value = field(from, key);
  if (typeof value === "string" && value !== "") subject[as] = value.slice(0, 300);
}

function field(from: unknown, key: string): unknown {
  if (typeof from !== "object" || from === null || !(key in from)) return undefined;
  return (from as Record<string, unknown>)[key] ?? undefined;
}
