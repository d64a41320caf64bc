import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startGateway } from '@cloudos/gateway';
import { FakeKernel } from '@cloudos/gateway/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CliBench, clusterView, instanceView } from './spec-kit.ts';

describe('a gateway over TLS', () => {
  let bench: CliBench;
  let url: string;
  let fingerprint: string;
  let token: string;
  let caFile: string;
  beforeAll(async () => {
    bench = await CliBench.open({ running: true, tls: true });
    const endpoint = JSON.parse(await readFile(join(bench.stateDir, 'endpoint.json'), 'utf8'));
    ({ url, fingerprint, certificateFile: caFile } = endpoint);
    token = (await readFile(join(bench.stateDir, 'token'), 'utf8')).trim();
    bench.kernel.output.set('web-1', [{ stream: 'stdout', data: Buffer.from('hello\n') }]);
    bench.kernel.onView = () => clusterView({ instances: [instanceView('web-1', 'default/web')] });
    bench.kernel.events.record({ stream: 'kernel', type: 'StackAssembled' });
  });
  afterAll(() => bench.close());

  const elsewhere = (...options: string[]) => ['--url', url, '--token', token, ...options];

  it('is trusted by what the state directory says, over HTTP and WebSocket', async () => {
    expect(url).toMatch(/^https:/);
    const status = await bench.run(['status', '-o', 'json']);
    expect(JSON.parse(status.out)).toMatchObject({ url, fingerprint });
    expect((await bench.run(['status'])).out).toContain(`SHA-256 ${fingerprint}`);
    expect((await bench.run(['exec', 'web-1', '--', 'echo', 'over', 'TLS'])).out).toBe('over TLS\n');
  });

  it('is trusted by its fingerprint, in any notation, and by its certificate', async () => {
    const plain = fingerprint.replaceAll(':', '').toLowerCase();
    for (const option of [
      ['--fingerprint', fingerprint],
      ['--fingerprint', `sha256:${plain}`],
      ['--ca-file', caFile],
    ]) {
      const exec = await bench.run([...elsewhere(...option), 'exec', 'web-1', '--', 'echo', 'x']);
      expect([option, exec.out, exec.err]).toEqual([option, 'x\n', 'done\n']);
    }
    const env = { CLOUDOS_URL: url, CLOUDOS_TOKEN: token, CLOUDOS_FINGERPRINT: fingerprint };
    expect((await bench.run(['status'], { env })).exitCode).toBe(0);
  });

  it('is not trusted otherwise, and says what to do', async () => {
    const { err, exitCode } = await bench.run([...elsewhere(), 'status']);
    expect(exitCode).toBe(4);
    expect(err).toMatch(/TLS_UNTRUSTED/);
    expect(err).toContain('--fingerprint');
    expect((await bench.run([...elsewhere('--fingerprint', 'ab:cd'), 'status'])).err).toContain('64 hexadecimal');
  });

  it('gets neither token nor request while it shows another certificate', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'cloudos-imposter-'));
    const imposterGateway = await startGateway({ kernel: new FakeKernel(dir), stateDir: dir, tls: true });
    const identity = await readFile(join(dir, 'gateway.pem'), 'utf8');
    const requests: string[] = [];
    let bytes = 0;
    const imposter = createServer({ cert: identity, key: identity }, (request, response) => {
      requests.push(String(request.headers.authorization));
      response.end('{}');
    });
    imposter.on('secureConnection', (socket) => {
      socket.on('data', (data) => {
        bytes += data.length;
      });
    });
    await new Promise<void>((resolve) => imposter.listen(0, '127.0.0.1', resolve));
    const at = `https://127.0.0.1:${(imposter.address() as AddressInfo).port}`;
    try {
      for (const trust of [
        ['--fingerprint', fingerprint],
        ['--fingerprint', fingerprint, '--ca-file', join(dir, 'gateway.crt')],
        ['--ca-file', caFile],
        [],
      ]) {
        for (const command of [['status'], ['events', '-f'], ['exec', 'web-1', '--', 'echo', 'x']]) {
          const { err, exitCode } = await bench.run(['--url', at, '--token', token, ...trust, ...command]);
          expect([trust, command, exitCode, err]).toEqual([
            trust,
            command,
            4,
            expect.stringContaining('TLS_UNTRUSTED'),
          ]);
        }
      }
      expect([requests, bytes]).toEqual([[], 0]);
      // The same server is spoken to once it is trusted: what was counted would have been seen.
      await bench.run(['--url', at, '--token', token, '--fingerprint', imposterGateway.fingerprint ?? '', 'status']);
      expect(requests.length).toBeGreaterThan(0);
      expect(bytes).toBeGreaterThan(0);
    } finally {
      imposter.closeAllConnections();
      imposter.close();
      await imposterGateway.close();
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe('a certificate of an authority of one’s own', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cloudos-ca-'));
    const run = (...args: string[]) => promisify(execFile)('openssl', args, { cwd: dir });
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    await run('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=our CA', '-days', '2');
    await run('req', ...ec, '-keyout', 'own.key', '-out', 'own.csr', '-subj', '/CN=gateway');
    await promisify(execFile)('sh', ['-c', 'echo "subjectAltName=IP:127.0.0.1" > ext'], { cwd: dir });
    await run(
      ...['x509', '-req', '-in', 'own.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'],
      ...['-extfile', 'ext', '-days', '2', '-out', 'own.crt'],
    );
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  it('is trusted through the authority, by fingerprint, and by the state directory', async () => {
    const files = { certificate: join(dir, 'own.crt'), key: join(dir, 'own.key') };
    const bench = await CliBench.open({ running: true, tls: files });
    try {
      const endpoint = JSON.parse(await readFile(join(bench.stateDir, 'endpoint.json'), 'utf8'));
      const token = (await readFile(join(bench.stateDir, 'token'), 'utf8')).trim();
      expect((await bench.run(['status'])).exitCode).toBe(0);
      const at = ['--url', endpoint.url, '--token', token];
      expect((await bench.run([...at, '--ca-file', join(dir, 'ca.crt'), 'status'])).exitCode).toBe(0);
      expect((await bench.run([...at, '--fingerprint', endpoint.fingerprint, 'status'])).exitCode).toBe(0);
      expect((await bench.run([...at, 'status'])).err).toContain('TLS_UNTRUSTED');
      const named = endpoint.url.replace('127.0.0.1', 'localhost');
      const other = await bench.run(['--url', named, '--token', token, '--ca-file', join(dir, 'ca.crt'), 'status']);
      expect(other.err).toMatch(/TLS_UNTRUSTED|altnames/);
    } finally {
      await bench.close();
    }
  });
});
