import type { Logger } from "../base/log.ts";
import { Authorizer } from "./auth/authorizer.ts";
import { DockerConfig } from "./auth/docker-config.ts";
import { TokenService } from "./auth/token-service.ts";
import { Penalties } from "./endpoints/penalties.ts";
import { resolveEndpoints } from "./endpoints/resolve.ts";
import { type Explanation, explain } from "./explain.ts";
import { machineAuthorities } from "./http/authorities.ts";
import { type ProxyEnv, proxyFromEnv } from "./http/proxy.ts";
import { Transports } from "./http/transport.ts";
import type { RegistryAuth, RegistryConfig } from "./options.ts";
import { parseReference, type Reference } from "./reference.ts";
import { Repository, type RepositoryContext } from "./repository.ts";

/**
 * The client of registries that speak the OCI distribution spec. Keeps connections, tokens and the memory of failing
 * endpoints; configuration files are read anew for each repository that is opened, so that no restart is needed after a change.
 */
export class Registry implements AsyncDisposable {
  readonly #context: RepositoryContext;

  constructor(options: { config: RegistryConfig; progressTimeoutMs: number; log: Logger; env?: ProxyEnv }) {
    const transports = new Transports({ proxy: proxyFromEnv(options.env ?? process.env) });
    this.#context = {
      config: options.config,
      transports,
      authorizer: new Authorizer({ tokens: new TokenService({ transports }) }),
      docker: new DockerConfig(options.config.dockerConfig ?? ""),
      penalties: new Penalties(),
      schemes: new Map(),
      log: options.log,
      progressTimeoutMs: options.progressTimeoutMs,
    };
  }

  /**
   * The repository of a reference, as seen with the credentials of one CRI call.
   * @throws failed-precondition when the configuration for its registry cannot be used
   */
  async open(ref: Reference, o: { auth?: RegistryAuth | undefined } = {}): Promise<Repository> {
    const [endpoints, authorities] = await Promise.all([resolveEndpoints(this.#context.config, ref), machineAuthorities()]);
    return new Repository(this.#context, ref, { endpoints, authorities, auth: o.auth });
  }

  /**
   * How a pull of the reference would go about it: every endpoint in order, where it comes from and what it answers.
   * @throws invalid-argument (reference); failed-precondition when the configuration cannot be used
   */
  async explain(text: string, o: { auth?: RegistryAuth | undefined; signal: AbortSignal }): Promise<Explanation> {
    return explain(await this.open(parseReference(text), o), this.#context, o);
  }

  /** Closes all connections; requests under way fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.transports[Symbol.asyncDispose]();
  }
}
