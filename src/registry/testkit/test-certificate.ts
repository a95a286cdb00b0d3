import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIP } from "node:net";

/** A certificate with its key, as PEM texts. */
export interface TestCertificate {
  cert: string;
  key: string;
  name: string;
  privateKey: KeyObject;
}

/** Makes a certificate for a day: signed by the issuer, or by itself as an authority. Node can read certificates but not make them. */
export function makeCertificate(name: string, o: { issuer?: TestCertificate; hosts?: string[] } = {}): TestCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ecdsaSha256 = sequence(oid("2a8648ce3d040302"));
  const alternatives = (o.hosts ?? []).map((host) =>
    isIP(host) === 4 ? der(0x87, Buffer.from(host.split(".").map(Number))) : der(0x82, Buffer.from(host)),
  );
  const extensions = [
    sequence(
      oid("551d13"),
      der(1, Buffer.from([0xff])),
      der(4, o.issuer === undefined ? sequence(der(1, Buffer.from([0xff]))) : sequence()),
    ),
    ...(alternatives.length === 0 ? [] : [sequence(oid("551d11"), der(4, sequence(...alternatives)))]),
  ];
  const body = sequence(
    der(0xa0, der(2, Buffer.from([2]))),
    der(2, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaSha256,
    commonName(o.issuer?.name ?? name),
    sequence(time(-3600_000), time(24 * 3600_000)),
    commonName(name),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign("sha256", body, o.issuer?.privateKey ?? privateKey);
  const certificate = sequence(body, ecdsaSha256, der(3, Buffer.concat([Buffer.from([0]), signature])));
  const cert = `-----BEGIN CERTIFICATE-----\n${certificate.toString("base64").replace(/(.{64})/g, "$1\n")}\n-----END CERTIFICATE-----\n`;
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(), name, privateKey };
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...items: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(items));
}

function oid(hex: string): Buffer {
  return der(6, Buffer.from(hex, "hex"));
}

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid("550403"), der(12, Buffer.from(name)))));
}

function time(fromNowMs: number): Buffer {
  const text = new Date(Date.now() + fromNowMs).toISOString().replace(/[-:T]/g, "").slice(2, 14);
  return der(23, Buffer.from(`${text}Z`));
}
