import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { silentLogger } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Gateway, type GatewayOptions, startGateway } from '../gateway.ts';
import { Listener, RawConnection, until } from '../spec-kit.ts';
import { FakeKernel } from '../testing/index.ts';
import { identityOf } from './identity.ts';
import { isLoopback, urlOf } from './listening.ts';
import { selfSigned } from './self-signed.ts';

describe('the identity of a gateway', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cloudos-tls-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const generated = (host = '127.0.0.1') => identityOf(true, dir, host, silentLogger);

  it('is generated once, kept, and readable by its owner only', async () => {
    const first = await generated();
    const second = await generated('::1');
    expect(second.fingerprint).toBe(first.fingerprint);
    expect(first.fingerprint).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    expect((await stat(join(dir, 'gateway.pem'))).mode & 0o777).toBe(0o600);
    const shown = await readFile(first.certificateFile, 'utf8');
    expect(shown).not.toContain('PRIVATE');
    const certificate = new X509Certificate(shown);
    expect(certificate.fingerprint256).toBe(first.fingerprint);
    expect(
      ['localhost', '127.0.0.1', '::1'].map((name) => certificate.checkHost(name) ?? certificate.checkIP(name)),
    ).toEqual(['localhost', '127.0.0.1', '::1']);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(Date.parse(certificate.validTo)).toBeGreaterThan(Date.now() + 9 * 365 * 86_400_000);
  });

  it('is made anew when it does not cover the host, has expired, or was damaged', async () => {
    const first = await generated();
    const other = await generated('10.1.2.3');
    expect(other.fingerprint).not.toBe(first.fingerprint);
    expect(new X509Certificate(other.certificate).checkIP('10.1.2.3')).toBe('10.1.2.3');
    const old = new Date();
    old.setFullYear(old.getFullYear() - 11);
    await writeFile(join(dir, 'gateway.pem'), await selfSigned(['127.0.0.1'], old));
    const renewed = await generated();
    expect(Date.parse(new X509Certificate(renewed.certificate).validTo)).toBeGreaterThan(Date.now());
    await writeFile(join(dir, 'gateway.pem'), (await readFile(join(dir, 'gateway.pem'), 'utf8')).slice(0, 900));
    expect((await generated()).fingerprint).not.toBe(renewed.fingerprint);
  });

  it('names what is wrong with files of one’s own', async () => {
    const text = await selfSigned(['localhost'], new Date());
    const [certificate = '', key = ''] = text.split(/(?=-----BEGIN PRIVATE KEY)/);
    const file = async (name: string, content: string) => {
      await writeFile(join(dir, name), content);
      return join(dir, name);
    };
    const cert = await file('own.crt', certificate);
    const own = await file('own.key', key);
    const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const another = await file('another.key', ec.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
    const old = new Date();
    old.setFullYear(old.getFullYear() - 11);
    const expired = await file('expired.pem', await selfSigned(['localhost'], old));
    const load = (files: { certificate: string; key: string }) => identityOf(files, dir, 'localhost', silentLogger);
    expect((await load({ certificate: cert, key: own })).certificateFile).toBe(cert);
    for (const [files, message] of [
      [{ certificate: join(dir, 'none'), key: own }, /none cannot be read/],
      [{ certificate: own, key: own }, /own\.key holds no certificate/],
      [{ certificate: cert, key: cert }, /own\.crt holds no private key/],
      [{ certificate: cert, key: another }, /another\.key is not that of the certificate/],
      [{ certificate: expired, key: expired }, /was valid until/],
    ] as const) {
      await expect(load(files)).rejects.toMatchObject({ code: 'TLS_INVALID', message: expect.stringMatching(message) });
    }
  });
});

describe('listening', () => {
  it.each([
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['::1', true],
    ['localhost', true],
    ['0.0.0.0', false],
    ['::', false],
    ['10.0.0.1', false],
    ['127.example.org', false],
  ])('%s is loopback: %s', (host, loopback) => expect(isLoopback(host)).toBe(loopback));

  it('gives an address that can be connected to', () => {
    expect(urlOf('https', '0.0.0.0', 1)).toBe('https://127.0.0.1:1');
    expect(urlOf('http', '::', 2)).toBe('http://[::1]:2');
    expect(urlOf('http', '10.0.0.1', 3)).toBe('http://10.0.0.1:3');
  });
});

describe('serving over TLS', () => {
  let dir: string;
  let gateway: Gateway;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cloudos-tls-'));
  });
  afterEach(async () => {
    await gateway.close();
    await rm(dir, { recursive: true, force: true });
  });

  const start = async (options: Partial<GatewayOptions>) => {
    gateway = await startGateway({ kernel: new FakeKernel(dir), stateDir: dir, ...options });
  };
  const handshake = (version?: SecureVersion) =>
    new Promise<string>((resolve) => {
      const versions = version ? { minVersion: version, maxVersion: version } : {};
      // A client that insists on an old version has to lower OpenSSL's own bound too.
      const socket: TLSSocket = connect(
        {
          host: '127.0.0.1',
          port: gateway.port,
          rejectUnauthorized: false,
          ciphers: 'DEFAULT@SECLEVEL=0',
          ...versions,
        },
        () => {
          resolve(socket.getProtocol() ?? 'none');
          socket.destroy();
        },
      );
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(`${error.code}`));
    });

  it('is plain on loopback and TLS elsewhere, unless it is told otherwise', async () => {
    await start({});
    expect(gateway.url).toMatch(/^http:\/\/127/);
    expect(gateway.fingerprint).toBeUndefined();
    await gateway.close();
    await start({ host: '0.0.0.0' });
    expect(gateway.url).toMatch(/^https:\/\/127/);
    await gateway.close();
    await start({ host: '0.0.0.0', tls: false });
    expect(gateway.url).toMatch(/^http:\/\/127/);
  });

  it('speaks 1.2 and 1.3, nothing older, and nothing in the clear', async () => {
    await start({ tls: true });
    expect(await handshake()).toBe('TLSv1.3');
    expect(await handshake('TLSv1.2')).toBe('TLSv1.2');
    expect(await handshake('TLSv1.1')).toMatch(/PROTOCOL|UNSUPPORTED|ALERT/i);
    await expect(fetch(gateway.url.replace('https', 'http'))).rejects.toThrow();
  });

  it('cuts off who connects and never greets, or stops in the middle of it', async () => {
    await start({ tls: true, bounds: { headersTimeoutMs: 300 } });
    const silent = [new RawConnection(gateway.port), new RawConnection(gateway.port)];
    silent[1]?.socket.write(Buffer.from('16030100c8010000c40303', 'hex'));
    await until('both are closed', () => silent.every(({ ended }) => ended));
    expect(await handshake()).toBe('TLSv1.3');
  });

  it('serves WebSockets, tells where and by what it is known, and closes in time', async () => {
    await start({ tls: true });
    const endpoint = JSON.parse(await readFile(join(dir, 'endpoint.json'), 'utf8'));
    expect(endpoint).toMatchObject({ url: gateway.url, fingerprint: gateway.fingerprint });
    const ca = await readFile(endpoint.certificateFile, 'utf8');
    const headers = { authorization: `Bearer ${gateway.token}` };
    const listener = await new Listener(`${gateway.url.replace('http', 'ws')}/v1/events`, { headers, ca }).opened();
    const idle = connect({ host: '127.0.0.1', port: gateway.port, ca });
    await new Promise((resolve) => idle.once('secureConnect', resolve));
    const started = Date.now();
    await gateway.close();
    expect(Date.now() - started).toBeLessThan(4_500);
    await until('the socket is closed', () => listener.closed?.code === 1001);
  });
});
