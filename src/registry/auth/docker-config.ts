import { readFile } from "node:fs/promises";
import * as z from "zod";
import { CridError, isErrno, messageOf } from "../../base/errors.ts";
import { spawnProcess } from "../../linux/spawn.ts";
import { printable } from "../failure.ts";
import { type ChosenCredentials, parseCredentials } from "./credentials.ts";

const entrySchema = z.looseObject({
  username: z.string().optional(),
  password: z.string().optional(),
  auth: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});
const fileSchema = z.looseObject({
  auths: z.record(z.string(), entrySchema).optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});
const helperSchema = z.looseObject({ Username: z.string(), Secret: z.string() });

const helperTimeoutMs = 20_000;

/**
 * docker's `config.json`: credentials by host, and helper programs (`docker-credential-<name> get`, the protocol of
 * github.com/docker/docker-credential-helpers). Read anew each time: logins change it under a running daemon.
 */
export class DockerConfig {
  readonly #file: string;

  /** @param file "" = none */
  constructor(file: string) {
    this.#file = file;
  }

  /**
   * The credentials filed under the first of the names that has any.
   * @throws failed-precondition when the file or a helper cannot be used
   */
  async find(names: readonly string[], o: { signal: AbortSignal }): Promise<ChosenCredentials | undefined> {
    const file = await this.#read();
    if (file === undefined) return undefined;
    for (const name of names) {
      const helper = file.credHelpers?.[name];
      if (helper !== undefined) return this.#ask(helper, name, o);
    }
    for (const name of names) {
      const key = Object.keys(file.auths ?? {}).find((candidate) => hostOf(candidate) === hostOf(name));
      const entry = key === undefined ? undefined : file.auths?.[key];
      if (entry === undefined) continue;
      const credentials = parseCredentials(
        { ...entry, identityToken: entry.identitytoken, registryToken: entry.registrytoken },
        this.#file,
      );
      if (credentials !== undefined) return { credentials, source: this.#file };
      if (file.credsStore !== undefined) return this.#ask(file.credsStore, key ?? name, o);
    }
    if (file.credsStore === undefined || names[0] === undefined) return undefined;
    return this.#ask(file.credsStore, names.find((name) => name.startsWith("https://")) ?? names[0], o);
  }

  async #read(): Promise<z.infer<typeof fileSchema> | undefined> {
    if (this.#file === "") return undefined;
    try {
      return fileSchema.parse(JSON.parse(await readFile(this.#file, "utf8")));
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw new CridError("failed-precondition", `registry credentials in ${this.#file}: ${messageOf(error)}`, { cause: error });
    }
  }

  async #ask(helper: string, server: string, o: { signal: AbortSignal }): Promise<ChosenCredentials | undefined> {
    const program = `docker-credential-${helper}`;
    const source = `${program} (${this.#file})`;
    if (!/^[\w.-]+$/.test(helper))
      throw new CridError("failed-precondition", `${this.#file}: credential helper ${JSON.stringify(helper)} is not a name`);
    const { PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME = "/root" } = process.env;
    let answer: Awaited<ReturnType<typeof spawnProcess>>;
    try {
      answer = await spawnProcess({
        file: program,
        args: ["get"],
        env: { PATH, HOME },
        stdin: Buffer.from(server),
        signal: o.signal,
        timeoutMs: helperTimeoutMs,
        maxOutput: 1024 * 1024,
      });
    } catch (error) {
      o.signal.throwIfAborted();
      throw new CridError("failed-precondition", `run ${source} for ${server}: ${messageOf(error)}`, { cause: error });
    }
    const output = answer.stdout.toString("utf8").trim();
    // The helper has nothing for this server: that is an answer, with exit code 1 and these words on stdout.
    if (answer.status !== 0 && /credentials not found/i.test(output)) return undefined;
    if (answer.status !== 0)
      throw new CridError(
        "failed-precondition",
        `${source} failed for ${server}: ${printable(output || answer.stderr.toString("utf8"), 500)}`,
      );
    return { ...this.#parse(output, source), source };
  }

  #parse(output: string, source: string): Pick<ChosenCredentials, "credentials"> {
    let parsed: z.infer<typeof helperSchema>;
    try {
      parsed = helperSchema.parse(JSON.parse(output));
    } catch (error) {
      // The output holds a secret: not even its beginning is shown.
      throw new CridError("failed-precondition", `${source} answered something that is not {"Username", "Secret"}`, { cause: error });
    }
    const credentials = parseCredentials({ username: parsed.Username, password: parsed.Secret }, source);
    return credentials === undefined ? {} : { credentials };
  }
}

/** docker files hosts as `host`, `https://host` and `https://host/v1/`. */
function hostOf(name: string): string {
  return name.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}
