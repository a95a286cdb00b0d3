import { CridError } from "../base/errors.ts";
import type { Adjusted } from "./default-validator.ts";
import { type ContainerUpdate, v1 } from "./messages.ts";
import type { Plugin } from "./plugin.ts";
import { METHODS } from "./rpc.ts";

/**
 * Shows all validating plugins, at the same time, what the others have adjusted.
 *
 * @throws failed-precondition when one rejects it; and when one does not answer, since nobody knows then whether it would have
 */
export async function askValidators(
  plugins: readonly Plugin[],
  adjusted: Adjusted & { updates: ContainerUpdate[] },
  options: { signal: AbortSignal },
): Promise<void> {
  const validators = plugins.filter((plugin) => plugin.wants("ValidateContainerAdjustment"));
  if (validators.length === 0) return;
  const request = {
    pod: adjusted.pod,
    container: adjusted.container,
    adjust: adjusted.adjustment,
    update: adjusted.updates,
    owners: adjusted.owners.toMessage(),
    plugins: adjusted.plugins.map((plugin) => new v1.PluginInstance(plugin)),
  };
  const verdicts = await Promise.allSettled(
    validators.map(async (plugin) => {
      const answer = await plugin.ask("ValidateContainerAdjustment", METHODS.ValidateContainerAdjustment, request, options);
      if (answer === undefined) throw new CridError("failed-precondition", `the validating NRI plugin ${plugin.name} did not answer`);
      if (!answer.reject) return;
      const reason = answer.reason || "it gives no reason";
      throw new CridError("failed-precondition", `NRI plugin ${plugin.name} rejected what was adjusted: ${reason}`);
    }),
  );
  for (const verdict of verdicts) if (verdict.status === "rejected") throw verdict.reason;
}
