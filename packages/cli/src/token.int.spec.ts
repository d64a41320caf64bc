import type { CreatedToken, TokenInfo } from '@cloudos/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliBench } from './spec-kit.ts';

describe('cloudos token', () => {
  let bench: CliBench;
  beforeEach(async () => {
    bench = await CliBench.open({ running: true });
  });
  afterEach(() => bench.close());

  const url = async () => JSON.parse((await bench.run(['status', '-o', 'json'])).out).url as string;

  it('prints a token that works and nothing else, with the rest beside it', async () => {
    const made = await bench.run(['token', 'create', 'guests', '--scope', 'events:read', '--types', 'Guest*']);
    expect(made.exitCode).toBe(0);
    expect(made.out).toMatch(/^cloudos_[\w-]{43}\n$/);
    expect(made.err).toMatch(/token\/guests \(tok-\w+\) created: events:read; valid until 2\d{3}-/);
    const env = { CLOUDOS_URL: await url(), CLOUDOS_TOKEN: made.out.trim() };
    expect((await bench.run(['events', '--limit', '1'], { env })).exitCode).toBe(0);
    const refused = await bench.run(['get', 'nodes'], { env });
    expect(refused.exitCode).not.toBe(0);
    expect(refused.err).toContain('needs the scope state:read; the token guests');
    expect(refused.err).toContain('SCOPE_MISSING');
  });

  it('lists and revokes, in tables and for programs', async () => {
    const scopes = ['--scope', 'events:read,state:read', '--scope', 'streams:append', '--append-to', 'x-audit'];
    const json = await bench.run(['token', 'create', 'audit', ...scopes, '--expires', 'never', '-o', 'json']);
    expect(json.err).toBe('');
    const { token, id } = JSON.parse(json.out) as CreatedToken;
    await bench.run(['token', 'create', 'other', '--scope', 'state:read', '--expires', '30d']);
    const { out } = await bench.run(['token', 'list']);
    const [header, first, second] = out.split('\n');
    expect(header).toMatch(/^TOKEN +NAME +STATE +AGE +EXPIRES +SCOPES$/);
    expect(first).toMatch(/ audit +active +\ds +never +events:read,state:read,streams:append$/);
    expect(second).toMatch(/ other +active +\ds +(29|30)d +state:read$/);
    expect((await bench.run(['token', 'list', '-o', 'wide'])).out).toContain('x-audit');
    expect((await bench.run(['token', 'revoke', 'audit'])).out).toBe(`token/audit (${id}) revoked\n`);
    const listed = await bench.run(['token', 'list', '-o', 'json']);
    expect((JSON.parse(listed.out) as TokenInfo[]).map(({ state }) => state)).toEqual(['revoked', 'active']);
    expect(listed.out).not.toContain(token);
    const env = { CLOUDOS_URL: await url(), CLOUDOS_TOKEN: token };
    expect((await bench.run(['status'], { env })).err).toContain('TOKEN_REVOKED');
    expect((await bench.run(['token', 'revoke', 'nobody'])).err).toContain('TOKEN_NOT_FOUND');
  });

  it.each([
    [['token', 'create', 'a'], /--scope/],
    [['token', 'create', 'a', '--scope', 'root'], /expected some of events:read, .*given root/],
    [['token', 'create', 'a', '--scope', 'admin', '--expires', 'soon'], /expected a time/],
    [['token', 'create', 'a b', '--scope', 'admin'], /name: .*given "a b"/],
    [['token', 'create', 'a', '--scope', 'streams:append', '--append-to', 'kernel'], /appends.*given "kernel"/],
  ])('refuses %j with what was expected', async (args, message) => {
    const { exitCode, err, out } = await bench.run(args);
    expect(exitCode).not.toBe(0);
    expect(err).toMatch(message);
    expect(out).toBe('');
  });
});
