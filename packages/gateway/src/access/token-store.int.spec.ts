import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endedTokensMax, TokenStore, tokensFileOf, tokensMax, ttlDefaultMs } from './token-store.ts';

describe('the tokens of a state directory', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cloudos-tokens-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const reader = { name: 'dashboard', scopes: ['events:read', 'state:read'] } as const;

  it('tells a token once, and keeps its hash in a file of its owner', async () => {
    const store = await TokenStore.open(dir, () => 1_000);
    const made = await store.create({ ...reader, events: { types: ['Guest*'] } });
    expect(made.token).toMatch(/^cloudos_[\w-]{43}$/);
    expect(made).toMatchObject({ state: 'active', createdAt: 1_000, expiresAt: 1_000 + ttlDefaultMs });
    const text = await readFile(tokensFileOf(dir), 'utf8');
    expect(text).not.toContain(made.token.slice('cloudos_'.length));
    expect(text).toContain(made.id);
    expect((await stat(tokensFileOf(dir))).mode & 0o777).toBe(0o600);
    expect(JSON.stringify(store.list())).not.toContain('hash');
    const reopened = await TokenStore.open(dir, () => 1_000);
    expect(reopened.find(made.token)).toMatchObject({ id: made.id, events: { types: ['Guest*'] } });
    expect(reopened.find(`${made.token}x`)).toBeUndefined();
  });

  it('revokes by id or by name, for good; the name is free again', async () => {
    const store = await TokenStore.open(dir);
    const first = await store.create(reader);
    await expect(store.create(reader)).rejects.toMatchObject({ code: 'TOKEN_EXISTS' });
    await store.revoke('dashboard');
    const second = await store.create(reader);
    const reopened = await TokenStore.open(dir);
    expect(reopened.find(first.token)?.revokedAt).toBeDefined();
    expect(reopened.list().map(({ state }) => state)).toEqual(['revoked', 'active']);
    expect(await reopened.revoke(first.id)).toMatchObject({ id: first.id, state: 'revoked' });
    expect(await reopened.revoke('dashboard')).toMatchObject({ id: second.id, state: 'revoked' });
    await expect(reopened.revoke('nobody')).rejects.toMatchObject({
      code: 'TOKEN_NOT_FOUND',
      message: expect.stringContaining(`dashboard (${first.id})`),
    });
  });

  it('expires at its time', async () => {
    let now = 0;
    const store = await TokenStore.open(dir, () => now);
    await store.create({ ...reader, ttlMs: 5_000 });
    const forever = await store.create({ ...reader, name: 'forever', ttlMs: null });
    expect(forever.expiresAt).toBeUndefined();
    now = 4_999;
    expect(store.list()[0]?.state).toBe('active');
    now = 5_000;
    expect(store.list().map(({ state }) => state)).toEqual(['expired', 'active']);
  });

  it('takes changes that come at once in turns, and loses none', async () => {
    const store = await TokenStore.open(dir);
    const made = await Promise.all(
      Array.from({ length: 20 }, (_, n) => store.create({ ...reader, name: `t${n}`, ttlMs: null })),
    );
    await Promise.all(made.slice(0, 10).map(({ id }) => store.revoke(id)));
    const states = (await TokenStore.open(dir)).list().map(({ state }) => state);
    expect(states.filter((state) => state === 'revoked')).toHaveLength(10);
    expect(states).toHaveLength(20);
  });

  it('is bounded: active ones by a refusal, ended ones by forgetting the oldest', async () => {
    const token = (n: number, more: object) => ({
      id: `tok-${n}`,
      name: `t${n}`,
      hash: n.toString(16).padStart(64, '0'),
      scopes: ['state:read'],
      createdAt: n,
      ...more,
    });
    const active = Array.from({ length: tokensMax - 1 }, (_, n) => token(n, {}));
    const ended = Array.from({ length: endedTokensMax }, (_, n) => token(5_000 + n, { revokedAt: 5_000 + n }));
    await writeFile(tokensFileOf(dir), JSON.stringify({ version: 1, tokens: [...active, ...ended] }));
    const store = await TokenStore.open(dir);
    await store.create(reader);
    await expect(store.create({ ...reader, name: 'more' })).rejects.toMatchObject({ code: 'TOKENS_EXCEEDED' });
    await store.revoke('dashboard');
    const left = store.list().filter(({ state }) => state === 'revoked');
    expect(left).toHaveLength(endedTokensMax);
    expect(left.map(({ id }) => id)).not.toContain('tok-5000');
    await store.create({ ...reader, name: 'more' });
  });

  it.each([
    ['no JSON', '{"version": 1,'],
    ['another version', '{"version": 2, "tokens": []}'],
    ['a token of no scope', '{"version":1,"tokens":[{"id":"a","name":"a","hash":"","scopes":[],"createdAt":1}]}'],
  ])('does not open on %s: what was revoked would be forgotten', async (_name, text) => {
    await writeFile(tokensFileOf(dir), text);
    await expect(TokenStore.open(dir)).rejects.toMatchObject({
      code: 'TOKENS_MALFORMED',
      message: expect.stringContaining(tokensFileOf(dir)),
    });
  });

  it('voids a token even when the disk refuses, and writes that as soon as it can', async () => {
    const store = await TokenStore.open(dir);
    const made = await store.create(reader);
    await mkdir(`${tokensFileOf(dir)}.draft`);
    const ended: string[] = [];
    await expect(store.revoke(made.id, ({ id }) => ended.push(id))).rejects.toMatchObject({ code: 'STATE_UNWRITABLE' });
    expect(ended).toEqual([made.id]);
    expect(store.find(made.token)?.revokedAt).toBeDefined();
    await expect(store.create({ ...reader, name: 'other' })).rejects.toMatchObject({ code: 'STATE_UNWRITABLE' });
    expect(store.list()).toHaveLength(1);
    await rm(`${tokensFileOf(dir)}.draft`, { recursive: true });
    await store.revoke(made.id);
    expect((await TokenStore.open(dir)).list()).toMatchObject([{ id: made.id, state: 'revoked' }]);
  });
});
