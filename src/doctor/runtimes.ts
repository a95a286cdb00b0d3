import { existsSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { messageOf } from "../base/errors.ts";
import { spawnProcess } from "../linux/spawn.ts";
import { type HandlerSettings, runtimeHandler } from "../sandbox/runtime-handlers.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

export async function checkRuntimes(settings: HandlerSettings, options: { signal: AbortSignal }): Promise<Finding[]> {
  const found = await Promise.all(Object.keys(settings.handlers).map((name) => checkHandler(name, settings, options)));
  return found.flat();
}

async function checkHandler(name: string, settings: HandlerSettings, options: { signal: AbortSignal }): Promise<Finding[]> {
  const subject = `runtime handler ${name}`;
  // Only the default one must be there for a node to work.
  const bad = name === settings.defaultHandler ? failure : warning;
  let handler: ReturnType<typeof runtimeHandler>;
  try {
    handler = runtimeHandler(name, settings);
  } catch (error) {
    return [
      bad(
        subject,
        messageOf(error),
        "apt-get install runc containerd\n(of containerd only the shim is used; its service may stay off: systemctl disable --now containerd)",
      ),
    ];
  }
  const { shimBinary, options: runtime } = handler;
  try {
    const [shim, version, features] = await Promise.all([
      output(shimBinary, ["-v"], options),
      output(runtime.binaryName, ["--version"], options),
      output(runtime.binaryName, ["features"], options).catch(() => "{}"),
    ]);
    const shimVersion = /Version:\s*(\S+)/.exec(shim)?.[1] ?? "of an unknown version";
    const message = `${version.split("\n")[0] ?? ""} (${runtime.binaryName}), shim ${shimVersion} (${shimBinary})`;
    return hasSeccomp(features) === false
      ? [
          warning(
            subject,
            `${message}, built without seccomp: pods with the profile RuntimeDefault fail`,
            "install a build of it with libseccomp",
          ),
        ]
      : [ok(subject, message)];
  } catch (error) {
    return [bad(subject, messageOf(error), "install binaries for this machine and library")];
  }
}

async function output(file: string, args: string[], options: { signal: AbortSignal }): Promise<string> {
  const env = { PATH: process.env.PATH ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
  const { status, stdout, stderr } = await spawnProcess({ file, args, env, timeoutMs: 10_000, ...options });
  if (status !== 0) throw new Error(`${file} ${args.join(" ")}: exit status ${status}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

const featuresSchema = z.object({ linux: z.object({ seccomp: z.object({ enabled: z.boolean().nullish() }).nullish() }).nullish() });

/** From `features` (OCI runtime spec); undefined when it does not say. */
function hasSeccomp(features: string): boolean | undefined {
  try {
    return featuresSchema.parse(JSON.parse(features)).linux?.seccomp?.enabled ?? undefined;
  } catch {
    return undefined;
  }
}

export function checkPause(rootfs: string): Finding[] {
  const subject = "built-in pause";
  if (existsSync(join(rootfs, "pause"))) return [ok(subject, rootfs)];
  return [
    failure(
      subject,
      `${rootfs}/pause is missing: no pod can be made without sandbox.image`,
      "unpack the release again, or set sandbox.image",
    ),
  ];
}
