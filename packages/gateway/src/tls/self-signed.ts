import { generateKeyPair, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import { promisify } from 'node:util';

/** How long a generated certificate is valid. Clients know it by its fingerprint, which a renewal changes. */
const validityYears = 10;
const keyBits = 2_048;

/** Names and addresses in a certificate's subjectAltName (RFC 5280, 4.2.1.6). */
type AltName = { readonly type: 2; readonly value: string } | { readonly type: 7; readonly ip: string };

/**
 * A self-signed server certificate and its key, both PEM, the certificate first.
 * @param names host names and IP addresses that it shall be valid for
 */
export async function selfSigned(names: readonly string[], now: Date): Promise<string> {
  const [{ default: forge }, { privateKey, publicKey }] = await Promise.all([
    import('node-forge'),
    promisify(generateKeyPair)('rsa', {
      modulusLength: keyBits,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }),
  ]);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(publicKey);
  // Positive, and of at most 20 bytes (RFC 5280, 4.1.2.2).
  certificate.serialNumber = `00${randomBytes(16).toString('hex')}`;
  certificate.validity.notBefore = new Date(now.getTime() - 3_600_000);
  certificate.validity.notAfter = new Date(now.getTime());
  certificate.validity.notAfter.setFullYear(now.getFullYear() + validityYears);
  const subject = [{ name: 'commonName', value: 'cloudos gateway' }];
  certificate.setSubject(subject);
  certificate.setIssuer(subject);
  certificate.setExtensions([
    { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, keyCertSign: true, critical: true },
    { name: 'extKeyUsage', serverAuth: true },
    { name: 'subjectAltName', altNames: names.map(altName) },
  ]);
  certificate.sign(forge.pki.privateKeyFromPem(privateKey), forge.md.sha256.create());
  return `${forge.pki.certificateToPem(certificate).replaceAll('\r\n', '\n')}${privateKey}`;
}

function altName(name: string): AltName {
  return isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name };
}
