import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { type ConnectionOptions, connect, type PeerCertificate, rootCertificates } from 'node:tls';
import type { ClientOptions, WebSocketConstructor } from '@cloudos/client';
import { CloudosError, messageOf } from '@cloudos/sdk';
import type { buildConnector, RequestInit } from 'undici';
import { type ClientOptions as SocketOptions, WebSocket } from 'ws';

/** By what a client knows the gateway over TLS, beside the authorities that Node.js trusts. */
export interface Trust {
  /** SHA-256 of its certificate, with or without colons: that one and no other. */
  readonly fingerprint?: string | undefined;
  /** PEM file of an authority, or of the certificate itself. */
  readonly caFile?: string | undefined;
}

type TlsOptions = Pick<ConnectionOptions, 'minVersion' | 'ca' | 'checkServerIdentity' | 'allowPartialTrustChain'>;

type Transport = Required<Pick<ClientOptions, 'fetch' | 'webSocket'>>;

/** How long the gateway may take to show its certificate. */
const handshakeTimeoutMs = 10_000;

/**
 * What the client sends its requests with. A connection that is not to the trusted certificate ends before anything is
 * sent, the token above all.
 * @throws CloudosError TLS_UNTRUSTED, USAGE, KERNEL_UNREACHABLE
 */
export async function transportOf(url: string, trust: Trust): Promise<Transport> {
  const options = url.startsWith('https:') ? await optionsOf(new URL(url), trust) : {};
  class TrustingWebSocket extends WebSocket {
    constructor(address: string, protocols?: string[]) {
      super(address, protocols, options as unknown as SocketOptions);
    }
  }
  const webSocket = TrustingWebSocket as unknown as WebSocketConstructor;
  if (!url.startsWith('https:')) return { fetch, webSocket };
  // The fetch of Node.js takes no certificates; the package that it is made from does.
  const undici = await import('undici');
  const dispatcher = new undici.Agent({ connect: options as buildConnector.BuildOptions });
  const send = (input: unknown, init: unknown) =>
    undici.fetch(input as string, { ...(init as RequestInit), dispatcher });
  return { fetch: send as unknown as typeof fetch, webSocket };
}

async function optionsOf(url: URL, { fingerprint, caFile }: Trust): Promise<TlsOptions> {
  const base: TlsOptions = { minVersion: 'TLSv1.2' };
  const given = caFile === undefined ? undefined : await readCa(caFile);
  if (fingerprint === undefined) return given === undefined ? base : { ...base, ca: [...rootCertificates, given] };
  const wanted = normalised(fingerprint);
  const ca = given ?? (await shownBy(url, wanted));
  return {
    ...base,
    ca: [...rootCertificates, ca],
    // The certificate itself is trusted, whoever has signed it, and whatever its names are.
    allowPartialTrustChain: true,
    checkServerIdentity: (_host, shown) => mismatch(wanted, shown),
  };
}

async function readCa(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CloudosError('USAGE', `the CA file ${file} cannot be read: ${messageOf(error)}`);
  }
}

/** The certificate that is shown at an address, if it has that fingerprint. Nothing is sent there. */
function shownBy(url: URL, wanted: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port || 443);
    // Not verified here: what is shown is compared, then trusted by its own content.
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(handshakeTimeoutMs, () => fail(unreachable(url, `no handshake in ${handshakeTimeoutMs} ms`)));
    socket.once('error', (error) => fail(unreachable(url, error.message)));
    socket.once('secureConnect', () => {
      const shown = socket.getPeerCertificate();
      const problem = mismatch(wanted, shown);
      if (problem) return fail(problem);
      socket.destroy();
      resolve(pemOf(shown));
    });
  });
}

function mismatch(wanted: string, { fingerprint256 }: PeerCertificate): CloudosError | undefined {
  if (normalised(fingerprint256) === wanted) return undefined;
  return new CloudosError('TLS_UNTRUSTED', `the gateway shows a certificate with the fingerprint ${fingerprint256}`, {
    details: { shown: fingerprint256 },
  });
}

function normalised(fingerprint: string): string {
  const hex = fingerprint
    .replace(/^sha-?256:/i, '')
    .replaceAll(':', '')
    .toUpperCase();
  if (/^[0-9A-F]{64}$/.test(hex)) return hex;
  throw new CloudosError('USAGE', `${fingerprint} is no SHA-256 fingerprint; expected 64 hexadecimal digits`, {
    remedy: 'Copy it from what `cloudos up` or `cloudos status` prints.',
  });
}

function pemOf({ raw }: PeerCertificate): string {
  const lines = raw.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function unreachable(url: URL, reason: string): CloudosError {
  return new CloudosError('KERNEL_UNREACHABLE', `no TLS connection to ${url.origin}: ${reason}`);
}
