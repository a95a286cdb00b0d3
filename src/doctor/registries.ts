import { messageOf } from "../base/errors.ts";
import type { Logger } from "../base/log.ts";
import type { Config } from "../config/schema.ts";
import { Registry } from "../registry/registry.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

/** Asks every endpoint of an image what it is, without credentials but those of the configuration. */
export async function checkRegistry(image: string, config: Config, log: Logger, options: { signal: AbortSignal }): Promise<Finding[]> {
  const subject = `registry of ${image}`;
  await using registry = new Registry({ config: config.registry, progressTimeoutMs: config.image.pullProgressTimeout, log });
  try {
    const { endpoints } = await registry.explain(image, options);
    const told = endpoints.map(
      ({ url, source, answer }) => `${url} (${source}): ${answer.ok ? `${answer.digest}, ${answer.ms} ms` : answer.detail}`,
    );
    const answers = endpoints.filter(({ answer }) => answer.ok).length;
    const message = told.join("; ");
    if (answers === endpoints.length) return [ok(subject, message)];
    if (answers > 0)
      return [
        warning(subject, `not every endpoint has it: ${message}`, "see registry.mirrors and hosts.toml of the endpoints that failed"),
      ];
    return [
      failure(
        subject,
        `no endpoint has it: ${message}`,
        "check name, proxy (HTTPS_PROXY), DNS and registry.mirrors; then: crictl pull IMAGE",
      ),
    ];
  } catch (error) {
    options.signal.throwIfAborted();
    return [failure(subject, messageOf(error), "see registry in /etc/crid/config.yaml, and hosts.toml")];
  }
}
