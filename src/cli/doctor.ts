import { parseArgs } from "node:util";
import type { Finding } from "../doctor/finding.ts";
import type { Command } from "./command.ts";

export const command: Command = {
  usage: "[--json] [--config FILE] [--kubelet-config FILE] [--crictl-config FILE] [--registry IMAGE]...",
  summary: "Checks whether this node is fit for crid and kubeadm, and says what to type where it is not. Exit code 1 on a failure.",
  async run(args) {
    const { values } = parseArgs({
      args,
      options: {
        json: { type: "boolean", default: false },
        config: { type: "string" },
        "kubelet-config": { type: "string", default: "/var/lib/kubelet/config.yaml" },
        "crictl-config": { type: "string", default: "/etc/crictl.yaml" },
        registry: { type: "string", multiple: true, default: [] },
      },
    });
    const [{ examine }, { pauseRootfs }, { version }] = await Promise.all([
      import("../doctor/examine.ts"),
      import("../compose/paths.ts"),
      import("../version.ts"),
    ]);
    const findings = await examine({
      configFile: values.config,
      kubeletConfigFile: values["kubelet-config"],
      crictlConfigFile: values["crictl-config"],
      images: values.registry,
      pauseRootfs: pauseRootfs(),
    });
    const fit = findings.every(({ verdict }) => verdict !== "failure");
    process.stdout.write(values.json ? `${JSON.stringify({ version, ok: fit, findings }, undefined, 2)}\n` : toText(findings));
    return fit ? 0 : 1;
  },
};

const labels = { ok: "ok", warning: "warn", failure: "FAIL" } as const;

function toText(findings: readonly Finding[]): string {
  const lines: string[] = [];
  for (const { verdict, subject, message, fix } of findings) {
    lines.push(`${labels[verdict].padEnd(4)}  ${subject}: ${message}`);
    for (const line of fix?.split("\n") ?? []) lines.push(`        ${line}`);
  }
  const count = (wanted: Finding["verdict"]): number => findings.filter(({ verdict }) => verdict === wanted).length;
  lines.push("", `${count("ok")} ok, ${count("warning")} warnings, ${count("failure")} failures`);
  return `${lines.join("\n")}\n`;
}
