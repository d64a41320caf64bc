import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { asCloudosError, CloudosError, type Logger, messageOf } from '@cloudos/sdk';
import { replaceFile } from '../access/replace-file.ts';
import { isWildcard } from './listening.ts';
import { selfSigned } from './self-signed.ts';

/** What the gateway shows of itself over TLS. */
export interface Identity {
  /** PEM; the first certificate is the gateway's own, others lead to an authority. */
  readonly certificate: string;
  /** PEM. Secret. */
  readonly key: string;
  /** SHA-256 of the first certificate: `AB:CD:…`. */
  readonly fingerprint: string;
  /** PEM file with the certificate, for clients that are given one to trust. */
  readonly certificateFile: string;
}

/** Files of one's own, PEM. */
export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

/**
 * The identity to serve with: from files that were named, or a self-signed one that is generated once for a state
 * directory and kept there (`gateway.pem`, mode 0600; the certificate alone in `gateway.crt`).
 * @throws CloudosError TLS_INVALID, STATE_UNWRITABLE
 */
export async function identityOf(
  tls: true | CertificateFiles,
  stateDir: string,
  host: string,
  logger: Logger,
): Promise<Identity> {
  return tls === true ? generated(stateDir, host, logger) : own(tls);
}

async function own({ certificate: certificateFile, key: keyFile }: CertificateFiles): Promise<Identity> {
  const [certificate, key] = await Promise.all([read(certificateFile), read(keyFile)]);
  const parsed = check(certificate, key, certificateFile, keyFile);
  if (expired(parsed, Date.now())) {
    throw invalid(`the certificate ${certificateFile} was valid until ${parsed.validTo}`);
  }
  return { certificate, key, fingerprint: parsed.fingerprint256, certificateFile };
}

async function generated(stateDir: string, host: string, logger: Logger): Promise<Identity> {
  const file = join(stateDir, 'gateway.pem');
  const certificateFile = join(stateDir, 'gateway.crt');
  let text = await readFile(file, 'utf8').catch(() => undefined);
  const reason = text === undefined ? 'there was none' : whyNot(text, file, host);
  if (text === undefined || reason !== undefined) {
    text = await selfSigned(namesOf(host), new Date());
    logger.info('a certificate was generated', { file, reason });
    await write(file, text);
  }
  const parsed = check(text, text, file, file);
  const certificate = parsed.toString();
  // Not secret, and derived: written each time, so that it is never that of an earlier one.
  await write(certificateFile, certificate);
  return { certificate, key: text, fingerprint: parsed.fingerprint256, certificateFile };
}

/** Why a generated identity has to be replaced. */
function whyNot(text: string, file: string, host: string): string | undefined {
  try {
    const parsed = check(text, text, file, file);
    if (expired(parsed, Date.now())) return `it was valid until ${parsed.validTo}`;
    if (isWildcard(host)) return undefined;
    const covered = isIP(host) === 0 ? parsed.checkHost(host) : parsed.checkIP(host);
    return covered === undefined ? `it was not for ${host}` : undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function namesOf(host: string): string[] {
  const listening = isWildcard(host) ? [] : [host];
  return [...new Set(['localhost', '127.0.0.1', '::1', hostname(), ...listening])];
}

function expired({ validTo }: X509Certificate, now: number): boolean {
  return Date.parse(validTo) <= now;
}

function check(certificate: string, key: string, certificateFile: string, keyFile: string): X509Certificate {
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(certificate);
  } catch (error) {
    throw invalid(`${certificateFile} holds no certificate in PEM: ${messageOf(error)}`);
  }
  let matches: boolean;
  try {
    matches = parsed.checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw invalid(`${keyFile} holds no private key in PEM without a passphrase: ${messageOf(error)}`);
  }
  if (!matches) throw invalid(`the key in ${keyFile} is not that of the certificate in ${certificateFile}`);
  return parsed;
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw invalid(`${file} cannot be read: ${messageOf(error)}`);
  }
}

async function write(file: string, text: string): Promise<void> {
  try {
    await replaceFile(file, text);
  } catch (error) {
    throw asCloudosError(error, 'STATE_UNWRITABLE', `${file} cannot be written`);
  }
}

function invalid(message: string): CloudosError {
  return new CloudosError('TLS_INVALID', message);
}
