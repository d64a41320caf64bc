import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { KernelProcess, until } from './support/kernel-process.ts';

/** Files whose purpose is to hold a secret. */
const keepers = new Set(['token', 'gateway.pem']);

/** After a run with known secrets, none is in anything that was produced: events, logs, files, answers, close reasons. */
describe('secrets', () => {
  const kernel = new KernelProcess({
    ...{ name: 'secretive', log: 'log-lmdb', resources: 'resources-borg', orchestrator: 'orchestrator-kubernetes' },
    nodes: [{ name: 'n', host: 'host-simulated', guests: ['guest-simulated'] }],
    gateway: { tls: true },
  });
  const secrets = new Map<string, string>();
  /** What clients were told. */
  const told: string[] = [];
  let ca: string;
  beforeAll(async () => {
    process.env.CLOUDOS_LOG_LEVEL = 'debug';
    kernel.begin();
    await until(
      () => existsSync(path.join(kernel.stateDir, 'endpoint.json')),
      60_000,
      () => kernel.output,
    );
    ca = path.join(kernel.stateDir, 'gateway.crt');
    const pem = readFileSync(path.join(kernel.stateDir, 'gateway.pem'), 'utf8');
    secrets.set('the private key', pem.split('-----BEGIN PRIVATE KEY-----\n')[1]?.split('\n')[3] ?? '');
    secrets.set('the token of the token file', kernel.token());
    for (const name of ['reader', 'revoked', 'expired']) {
      const ttl = name === 'expired' ? '1s' : '1h';
      const made = await kernel.run('token', 'create', name, '--scope', 'events:read', '--expires', ttl);
      expect(made.code).toBe(0);
      secrets.set(`the token ${name}`, made.stdout.trim());
      told.push(made.stderr);
    }
    secrets.set('a token that was tried', `cloudos_${'guess'.repeat(8)}xyz`);
    told.push((await kernel.run('token', 'revoke', 'revoked')).stdout);
  }, 120_000);
  afterAll(async () => {
    delete process.env.CLOUDOS_LOG_LEVEL;
    await kernel.dispose();
  }, 60_000);

  /** Presents a secret in a place where it belongs, or does not, and keeps what is said. */
  const present = async (secret: string) => {
    const run = (...args: string[]) =>
      kernel.cli('--url', kernel.endpoint(), '--ca-file', ca, '--token', secret, ...args);
    for (const args of [['status'], ['events', '--limit', '50']]) {
      const { stdout, stderr } = await run(...args);
      told.push(stdout, stderr);
    }
    const { Agent, fetch } = await import('undici');
    const dispatcher = new Agent({ connect: { ca: readFileSync(ca, 'utf8') } });
    const authorization = `Bearer ${kernel.token()}`;
    for (const [target, init] of [
      [`/v1/status?token=${secret}`, {}],
      [`/v1/view?at=${secret}`, { headers: { authorization } }],
      [`/v1/events?from=${secret}`, { headers: { authorization } }],
      [`/v1/nowhere/${secret}`, { headers: { authorization } }],
      [`/v1/why/${secret}`, { headers: { authorization } }],
      [`/v1/tokens/${secret}`, { method: 'DELETE', headers: { authorization } }],
      ['/v1/commands', { method: 'POST', headers: { authorization }, body: `{"token": ${secret}` }],
      ['/v1/commands', { method: 'POST', headers: { authorization }, body: JSON.stringify({ slot: secret }) }],
      [
        '/v1/tokens',
        { method: 'POST', headers: { authorization }, body: JSON.stringify({ name: `${secret} `, scopes: [secret] }) },
      ],
      ['/v1/status', { headers: { authorization: `Basic ${secret}` } }],
    ] as const) {
      const response = await fetch(`${kernel.endpoint()}${target}`, { ...init, dispatcher });
      told.push(JSON.stringify([...response.headers]), await response.text());
    }
    const url = `${kernel.endpoint().replace('http', 'ws')}/v1/events`;
    for (const [address, protocols] of [
      [url, ['cloudevents.json', `cloudos.bearer.${secret}`]],
      [url, [`cloudos.bearer.${secret}`]],
      [url, [secret]],
      [`${url}?token=${secret}`, []],
    ] as const) {
      const socket = new WebSocket(address, [...protocols], { ca: readFileSync(ca) });
      await new Promise<void>((resolve) => {
        socket.on('unexpected-response', (_request, response) => {
          response.on('data', (data: Buffer) => told.push(data.toString()));
          response.on('end', resolve);
        });
        socket.on('open', () => {
          told.push(socket.protocol);
          socket.send(`{"jsonrpc":"2.0","id":1,"method":"${secret}"}`);
          socket.once('message', (data) => {
            told.push(data.toString());
            socket.close(1000, secret.slice(0, 100));
          });
        });
        socket.on('close', (_code, reason) => {
          // Our own reason comes back in the closing handshake.
          if (reason.toString() !== secret.slice(0, 100)) told.push(reason.toString());
          resolve();
        });
        socket.on('error', () => resolve());
      });
    }
    await dispatcher.close();
  };

  it('are in nothing that was produced', async () => {
    for (const [name, secret] of secrets) if (name !== 'the private key') await present(secret);
    // What the kernel wrote is complete once it has ended.
    await kernel.end('SIGTERM');
    const produced = new Map<string, string>([
      ['what clients were told', told.join('\n')],
      ['what the process said', kernel.output],
      ['the events', (await kernel.run('log', 'export')).stdout],
    ]);
    const files = readdirSync(kernel.stateDir, { recursive: true, withFileTypes: true });
    for (const file of files) {
      if (!file.isFile() || keepers.has(file.name)) continue;
      const full = path.join(file.parentPath, file.name);
      produced.set(path.relative(kernel.stateDir, full), readFileSync(full, 'latin1'));
    }
    const found: string[] = [];
    for (const [name, secret] of secrets) {
      const core = secret.replace(/^cloudos_/, '').slice(0, 24);
      expect(core.length).toBeGreaterThanOrEqual(20);
      for (const [where, text] of produced) if (text.includes(core)) found.push(`${name} in ${where}`);
    }
    expect(found).toEqual([]);
    // All of it was looked at, and would have held them.
    expect(told.length).toBeGreaterThan(100);
    expect(produced.get('what clients were told')).toContain('TOKEN_REVOKED');
    expect(produced.get('what clients were told')).toContain('cloudos_[redacted]');
    expect(produced.get('the events')).toContain('StackAssembled');
    expect(produced.get('kernel.log')).toContain('a token was created');
    expect([...produced.keys()]).toContain('tokens.json');
  }, 240_000);
});
