import { CridError } from "../../base/errors.ts";
import { fromEvent } from "../convert/event.ts";
import type { RuntimeHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/**
 * Every change of every container from now on (evented PLEG). Each caller has a bounded queue of its own: one that does not keep
 * up is dropped at once, also in the middle of a message, and holds up nobody.
 */
export function getContainerEvents(services: Pick<Services, "containers" | "sandboxes">): RuntimeHandlers["GetContainerEvents"] {
  return async function* (_, call) {
    using subscription = services.containers.events.subscribe({ signal: call.signal, onDropped: () => call.fail(tooSlow()) });
    for await (const event of subscription) yield fromEvent(event, services);
    call.signal.throwIfAborted();
  };
}

function tooSlow(): CridError {
  return new CridError(
    "resource-exhausted",
    "container events: the caller did not keep up and was dropped; list the containers and subscribe again",
  );
}
