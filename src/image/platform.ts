/** A platform as manifests and configs name it (OCI image spec, image-index.md). */
export interface Platform {
  os: string;
  architecture: string;
  /** "" when there is none. */
  variant: string;
  /** What the system must have besides ("os.features"); absent when nothing. */
  features?: readonly string[];
}

const architectures: Partial<Record<NodeJS.Architecture, Platform>> = {
  x64: { os: "linux", architecture: "amd64", variant: "" },
  arm64: { os: "linux", architecture: "arm64", variant: "v8" },
  arm: { os: "linux", architecture: "arm", variant: "v7" },
  ia32: { os: "linux", architecture: "386", variant: "" },
  ppc64: { os: "linux", architecture: "ppc64le", variant: "" },
  s390x: { os: "linux", architecture: "s390x", variant: "" },
  riscv64: { os: "linux", architecture: "riscv64", variant: "" },
  loong64: { os: "linux", architecture: "loong64", variant: "" },
};

export function hostPlatform(): Platform {
  return architectures[process.arch] ?? { os: "linux", architecture: process.arch, variant: "" };
}

/** `linux/arm64/v8`; with features as containerd writes it, `linux(+erofs)/amd64`. */
export function formatPlatform({ os, architecture, variant, features = [] }: Platform): string {
  const system = features.length === 0 ? os : `${os}(${features.map((feature) => `+${feature}`).join("")})`;
  return [system, architecture, variant].filter((part) => part !== "").join("/");
}

/**
 * What the host can run, best first: itself, then older variants, then the 32-bit sibling, as containerd's platforms.Only.
 */
export function runnable(host: Platform): Platform[] {
  const { os, architecture, variant } = normalise(host);
  const arm = (newest: number): Platform[] =>
    Array.from({ length: newest - 4 }, (_, index) => ({ os, architecture: "arm", variant: `v${newest - index}` }));
  switch (architecture) {
    case "amd64":
      return [
        { os, architecture, variant: "" },
        { os, architecture: "386", variant: "" },
      ];
    case "arm64":
      return [{ os, architecture, variant: "" }, ...arm(8)];
    case "arm":
      return arm(Number(variant.slice(1)) || 7);
    default:
      return [{ os, architecture, variant }];
  }
}

/**
 * Place of the platform among those that the host can run: 0 is best, undefined is none of them. A platform that demands features is none: there is no
 * list of what a Linux has, and those that tools write so far (layers that are EROFS images) take another runtime.
 */
export function rank(host: Platform, platform: Platform): number | undefined {
  if ((platform.features ?? []).length > 0) return undefined;
  const wanted = formatPlatform(normalise(platform));
  const index = runnable(host).findIndex((candidate) => formatPlatform(candidate) === wanted);
  return index < 0 ? undefined : index;
}

/** The names that containerd's platforms.Normalize makes one. */
function normalise({ os, architecture, variant }: Platform): Platform {
  const arch = architecture.toLowerCase();
  const plain = variant.toLowerCase();
  switch (arch) {
    case "x86_64":
    case "x86-64":
    case "amd64":
      return { os: os.toLowerCase(), architecture: "amd64", variant: plain === "v1" ? "" : plain };
    case "aarch64":
    case "arm64":
      return { os: os.toLowerCase(), architecture: "arm64", variant: plain === "8" || plain === "v8" ? "" : plain };
    case "i386":
    case "386":
      return { os: os.toLowerCase(), architecture: "386", variant: "" };
    case "armhf":
      return { os: os.toLowerCase(), architecture: "arm", variant: "v7" };
    case "armel":
      return { os: os.toLowerCase(), architecture: "arm", variant: "v6" };
    case "arm":
      return { os: os.toLowerCase(), architecture: "arm", variant: plain === "" ? "v7" : /^\d$/.test(plain) ? `v${plain}` : plain };
    default:
      return { os: os.toLowerCase(), architecture: arch, variant: plain };
  }
}
