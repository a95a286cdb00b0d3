import { filled } from "../convert/fields.ts";
import { toAuth } from "./admin-convert.ts";
import type { AdminHandlers } from "./admin-methods.ts";
import type { AdminServices } from "./admin-services.ts";

export function explainImage({ registry }: Pick<AdminServices, "registry">): AdminHandlers["ExplainImage"] {
  return async ({ ref, credentials }, { signal }) => {
    const auth = toAuth(credentials);
    const { reference, endpoints } = await registry.explain(filled(ref, "ref"), { ...(auth && { auth }), signal });
    return {
      reference,
      endpoints: endpoints.map(({ answer, penaltyMs, ...endpoint }) => ({
        ...endpoint,
        penaltyMs: BigInt(Math.round(penaltyMs)),
        ok: answer.ok,
        answeredMs: BigInt(answer.ms),
        ...(answer.ok ? { digest: answer.digest, mediaType: answer.mediaType } : { error: answer.detail }),
      })),
    };
  };
}
