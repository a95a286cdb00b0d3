import { badField, filled } from "../convert/fields.ts";
import { checkStreams } from "../convert/streams.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";
import { runningContainer } from "./running-container.ts";

export function exec({ containers, streaming }: Pick<Services, "containers" | "streaming">): RuntimeHandlers["Exec"] {
  return ({ containerId, cmd, tty, stdin, stdout, stderr }) => {
    checkStreams({ tty, stdin, stdout, stderr });
    if (cmd.length === 0) throw badField("cmd", "is required");
    const { record } = runningContainer(containers, filled(containerId, "container_id"), "exec in");
    return { url: streaming.exec({ containerId: record.id, cmd, tty, stdin, stdout, stderr }) };
  };
}
