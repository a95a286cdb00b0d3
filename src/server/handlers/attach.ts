import { filled } from "../convert/fields.ts";
import { checkStreams } from "../convert/streams.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { runningContainer } from "./running-container.ts";

export function attach({ containers, streaming }: Pick<Services, "containers" | "streaming">): RuntimeHandlers["Attach"] {
  return ({ containerId, tty, stdin, stdout, stderr }) => {
    checkStreams({ tty, stdin, stdout, stderr });
    const { record } = runningContainer(containers, filled(containerId, "container_id"), "attach to");
    return { url: streaming.attach({ containerId: record.id, tty, stdin, stdout, stderr }) };
  };
}
