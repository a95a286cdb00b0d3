import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestBlob, TestImage } from "./test-image.ts";

const binary = new URL("../../../.tools/bin/registry", import.meta.url).pathname;

/** Reason to skip tests with the real registry, or false. */
export const distributionMissing: string | false = existsSync(binary) ? false : "the registry is not built: run hack/setup";

/** The distribution registry (github.com/distribution/distribution), on a free port of loopback with a storage of its own. */
export class DistributionRegistry implements AsyncDisposable {
  readonly host: string;
  readonly #process: ChildProcess;
  readonly #folder: string;

  private constructor(process: ChildProcess, folder: string, host: string) {
    this.#process = process;
    this.#folder = folder;
    this.host = host;
  }

  static async start(): Promise<DistributionRegistry> {
    const folder = await mkdtemp(join(tmpdir(), "crid-registry-"));
    const config = {
      version: "0.1",
      log: { level: "info", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, "data") }, maintenance: { uploadpurging: { enabled: false } } },
      http: { addr: "127.0.0.1:0", secret: "tests" },
    };
    await writeFile(join(folder, "config.yaml"), JSON.stringify(config));
    const process = spawn(binary, ["serve", join(folder, "config.yaml")], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: "/usr/bin:/bin", OTEL_TRACES_EXPORTER: "none" },
    });
    for await (const line of createInterface({ input: process.stderr })) {
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (address === undefined) continue;
      process.stderr.resume();
      return new DistributionRegistry(process, folder, address);
    }
    throw new Error("the registry did not start");
  }

  /** Pushes the image, for each tag. Returns the reference with the first. */
  async push(repository: string, tags: string[], image: TestImage): Promise<string> {
    for (const item of [image.config, ...image.layers]) await this.#pushBlob(repository, item);
    await this.pushManifest(repository, [image.manifest.digest, ...tags], image.manifest);
    return `${this.host}/${repository}:${tags[0] ?? "latest"}`;
  }

  async pushManifest(repository: string, names: string[], manifest: TestBlob): Promise<void> {
    for (const name of names) {
      const url = `http://${this.host}/v2/${repository}/manifests/${name}`;
      await expectStatus(
        201,
        await fetch(url, { method: "PUT", headers: { "content-type": manifest.mediaType }, body: new Uint8Array(manifest.data) }),
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await exited;
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #pushBlob(repository: string, item: TestBlob): Promise<void> {
    const begun = await expectStatus(202, await fetch(`http://${this.host}/v2/${repository}/blobs/uploads/`, { method: "POST" }));
    const url = new URL(begun.headers.get("location") ?? "", `http://${this.host}`);
    url.searchParams.set("digest", item.digest);
    await expectStatus(
      201,
      await fetch(url, { method: "PUT", headers: { "content-type": "application/octet-stream" }, body: new Uint8Array(item.data) }),
    );
  }
}

async function expectStatus(status: number, response: Response): Promise<Response> {
  if (response.status !== status) throw new Error(`${response.url}: ${response.status} instead of ${status}: ${await response.text()}`);
  return response;
}
