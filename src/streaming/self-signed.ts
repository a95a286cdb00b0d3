import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";

const DAY_MS = 86_400_000;
/** Some clocks are a little behind. */
const BACKDATE_MS = 3_600_000;

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8_STRING = 0x0c;
const OBJECT_ID = 0x06;
const GENERALIZED_TIME = 0x18;
/** [0] of TBSCertificate: the version. */
const CONTEXT_0 = 0xa0;
/** [3] of TBSCertificate: the extensions. */
const CONTEXT_3 = 0xa3;
/** [2] and [7] of GeneralName: a DNS name, an IP address. */
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

const ECDSA_WITH_SHA256 = oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02);
const COMMON_NAME = oid(0x55, 0x04, 0x03);
const SUBJECT_ALT_NAME = oid(0x55, 0x1d, 0x11);

/**
 * A certificate for `host` and its key, PEM, P-256, signed by itself (RFC 5280). Nobody can verify it, so it only keeps the streams from being read
 * on their way, as the certificate does that containerd makes for its streams when it is given none.
 */
export function selfSigned(host: string, options: { days: number }): { cert: Buffer; key: Buffer } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from("crid streaming")))));
  const algorithm = der(SEQUENCE, ECDSA_WITH_SHA256);
  const now = Date.now();
  const names = der(SEQUENCE, altName(host));
  // The first bit of an INTEGER is its sign.
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const certificate = der(
    SEQUENCE,
    der(CONTEXT_0, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, serial),
    algorithm,
    name,
    der(SEQUENCE, time(now - BACKDATE_MS), time(now + options.days * DAY_MS)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(CONTEXT_3, der(SEQUENCE, der(SEQUENCE, SUBJECT_ALT_NAME, der(OCTET_STRING, names)))),
  );
  const signature = sign("sha256", certificate, privateKey);
  const whole = der(SEQUENCE, certificate, algorithm, der(BIT_STRING, Buffer.from([0]), signature));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    cert: Buffer.from(`-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`),
    key: Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })),
  };
}

function altName(host: string): Buffer {
  if (isIP(host) === 0) return der(DNS_NAME, Buffer.from(host));
  return der(IP_ADDRESS, isIP(host) === 4 ? Buffer.from(host.split(".").map(Number)) : ipv6Bytes(host));
}

/** URL writes an address in its canonical short form, of which at most one run of groups is left out. */
function ipv6Bytes(host: string): Buffer {
  const [head = "", tail] = new URL(`http://[${host}]/`).hostname.slice(1, -1).split("::");
  const groups = (text: string): number[] => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const [first, last] = [groups(head), groups(tail ?? "")];
  const all = [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

function time(ms: number): Buffer {
  return der(GENERALIZED_TIME, Buffer.from(`${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, "")}Z`));
}

function oid(...bytes: number[]): Buffer {
  return der(OBJECT_ID, Buffer.from(bytes));
}

/** One element of DER: tag, length, content. */
function der(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}
