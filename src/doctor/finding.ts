/** What a check has found. A failure keeps pods or kubeadm from working; a warning costs something, or may be meant. */
export interface Finding {
  /** What was looked at: "sysctl net.ipv4.ip_forward". */
  subject: string;
  verdict: "ok" | "warning" | "failure";
  message: string;
  /** What to type, or to do; one command a line. Not for "ok". */
  fix?: string;
}

export function ok(subject: string, message: string): Finding {
  return { subject, verdict: "ok", message };
}

export function warning(subject: string, message: string, fix: string): Finding {
  return { subject, verdict: "warning", message, fix };
}

export function failure(subject: string, message: string, fix: string): Finding {
  return { subject, verdict: "failure", message, fix };
}
