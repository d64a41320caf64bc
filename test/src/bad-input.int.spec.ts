import { spawnSync } from 'node:child_process';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import path from 'node:path';
import { CloudosClient } from '@cloudos/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelProcess } from './support/kernel-process.ts';

const slots = { name: 'bad', log: 'log-lmdb', resources: 'resources-borg', orchestrator: 'orchestrator-kubernetes' };
const nodes = [{ name: 'n', host: 'host-simulated', guests: ['guest-simulated'] }];

/** Runs a command without the rights of root; undefined where an ordinary user cannot even read the checkout. */
const asNobody = ordinaryUser();
function ordinaryUser() {
  const drop = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const env = { ...process.env, HOME: '/nonexistent', NO_COLOR: '1', FORCE_COLOR: '0' };
  const run = (...command: string[]) => {
    const [file = '', ...args] = process.getuid?.() === 0 ? ['setpriv', ...drop, ...command] : command;
    return spawnSync(file, args, { encoding: 'utf8', env });
  };
  return run(...KernelProcess.help).status === 0 ? run : undefined;
}

/** Every answer names what was given, what was expected and what to do; and the kernel goes on. */
describe('bad input', () => {
  const kernel = new KernelProcess({ ...slots, nodes });
  let client: CloudosClient;
  let url: string;
  beforeAll(async () => {
    client = await kernel.start();
    url = kernel.endpoint();
  }, 300_000);
  afterAll(async () => {
    await expect(client.status()).resolves.toMatchObject({ stack: 'bad', pid: kernel.pid }); // the same process still answers
    await kernel.dispose();
  }, 300_000);

  const oldPlugin =
    "export default { name: 'h', slot: 'host', apiVersion: 9, description: '', config: {}, create() {} };";
  const withNode = (host: unknown) => ({ ...slots, nodes: [{ name: 'n', host, guests: ['guest-simulated'] }] });
  it.each([
    [
      'an unknown plugin',
      { ...slots, nodes, resources: 'resources-none' },
      'PLUGIN_NOT_FOUND',
      /resources-none.*@cloudos\/resources-none/,
    ],
    [
      'a wrong configuration',
      withNode({ plugin: 'host-simulated', config: { zones: 'many' } }),
      'PLUGIN_CONFIG_INVALID',
      /zones.*number.*"many"/,
    ],
    [
      'two plugins for a single slot',
      { ...slots, nodes, log: ['log-lmdb', 'log-memory'] },
      'SLOT_CONFLICT',
      /slot log holds one plugin, given log-lmdb and log-memory/,
    ],
    [
      'an incompatible apiVersion',
      withNode('./old.mjs'),
      'PLUGIN_API_VERSION',
      /apiVersion 9, this kernel has apiVersion 1/,
    ],
    [
      'a plugin of another slot',
      { ...slots, nodes, resources: '@cloudos/log-memory' },
      'SLOT_MISMATCH',
      /log-memory is made for slot log.*slot resources/,
    ],
    ['a wrong type', { ...slots, nodes: 'all' }, 'STACK_MALFORMED', /nodes.*array.*"all"/],
  ])('in a stack file: %s', async (_, stack, code, message) => {
    const file = path.join(kernel.dir, 'bad.yaml');
    writeFileSync(path.join(kernel.dir, 'old.mjs'), oldPlugin);
    writeFileSync(file, JSON.stringify({ apiVersion: 'cloudos/v1', kind: 'Stack', ...stack }));
    const outcome = await kernel.cli('stack', 'validate', file);
    expect(outcome).toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
    expect(outcome.stderr).toMatch(new RegExp(`code +${code}\\n +do +\\S`));
  });

  it.each([
    ['YAML that is none', 'a: [', 'MANIFEST_MALFORMED', /line|:\d+:\d+/],
    [
      'an unknown kind',
      'apiVersion: v1\nkind: Sandwich\nmetadata: { name: x }',
      'MANIFEST_KIND_UNKNOWN',
      /Sandwich.*Deployment/,
    ],
    [
      'a wrong type',
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\nspec: { replicas: three }',
      'MANIFEST_INVALID',
      /spec\.replicas.*three/,
    ],
  ])('in a manifest: %s', async (_, text, code, message) => {
    const file = path.join(kernel.dir, 'manifest.yaml');
    writeFileSync(file, text);
    const outcome = await kernel.run('apply', '-f', file);
    expect(outcome).toMatchObject({ code: 4, stderr: expect.stringMatching(message) });
    expect(outcome.stderr).toMatch(new RegExp(`code +${code}\\n +do +\\S`));
    expect((await client.view()).workloads).toEqual([]);
  });

  it('on the machine: a port in use, a log that is held, a permission that is missing', async () => {
    const holder: Server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => holder.once('listening', resolve));
    const { port } = holder.address() as AddressInfo;
    const blocked = new KernelProcess({ ...slots, nodes, gateway: { port } });
    expect((await blocked.run('up')).stderr).toMatch(
      new RegExp(`cannot listen on 127.0.0.1:${port}.*process ${process.pid}[^]*code +PORT_IN_USE`),
    );
    holder.close();
    rmSync(blocked.dir, { recursive: true });

    expect((await kernel.run('up')).stderr).toMatch(
      new RegExp(`process ${kernel.pid}[^]*code +KERNEL_ALREADY_RUNNING`),
    );
    rmSync(path.join(kernel.stateDir, 'endpoint.json')); // now only the log itself knows
    expect((await kernel.run('up')).stderr).toMatch(new RegExp(`${kernel.pid}[^]*code +LOG_HELD`));
  }, 300_000);

  it.skipIf(!asNobody)('on the machine: a permission that is missing (needs a checkout that others may read)', () => {
    const locked = new KernelProcess({ ...slots, nodes });
    chmodSync(locked.dir, 0o755);
    const { status, stderr } = asNobody?.(...locked.commandLine('up')) ?? {};
    expect(status).toBe(1);
    expect(stderr).toMatch(new RegExp(`${locked.stateDir}[^]*code +PERMISSION_DENIED`));
    rmSync(locked.dir, { recursive: true });
  });

  it('over HTTP: a wrong token, an oversized body, a body that is no JSON, an unknown path', async () => {
    await expect(new CloudosClient({ url, token: 'wrong' }).view()).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
      remedy: expect.stringContaining('token'),
    });
    const headers = { authorization: `Bearer ${kernel.token()}`, 'content-type': 'application/json' };
    const send = async (route: string, body: string) => {
      const response = await fetch(`${url}${route}`, { method: 'POST', headers, body });
      return {
        status: response.status,
        ...((await response.json()) as { code: string; message: string; remedy: string }),
      };
    };
    expect(await send('/v1/commands', 'x'.repeat(40_000_000))).toMatchObject({
      status: 413,
      code: 'REQUEST_TOO_LARGE',
    });
    expect(await send('/v1/commands', '{"slot":')).toMatchObject({ status: 400, code: 'REQUEST_MALFORMED' });
    expect(await send('/v1/nowhere', '{}')).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' });
  });

  it('over WebSocket: broken frames end the connection and nothing else', async () => {
    const { port } = new URL(url);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), '127.0.0.1');
      let text = '';
      socket.on('data', (data: Buffer) => {
        if (!text) socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x00, 0x01, 0x02])); // reserved bits and opcode
        text += data.toString('latin1');
      });
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
      socket.setTimeout(10_000, () => reject(new Error('the connection stays open')));
      const upgrade =
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
      socket.write(
        `GET /v1/events?from=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${kernel.token()}\r\n${upgrade}\r\n\r\n`,
      );
    });
    expect(answer).toMatch(/^HTTP\/1.1 101/);
    expect(answer).toContain('\x03\xea'); // close code 1002, protocol error (RFC 6455)
  });
});
