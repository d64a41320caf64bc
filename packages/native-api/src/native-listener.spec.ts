import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Scope, silentLogger } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readBody, sendJson } from './body.ts';
import { listenConfig } from './listen-config.ts';
import { NativeListener, type NativeRequestHandler } from './native-listener.ts';

const config = z.strictObject(listenConfig({ port: 0, token: 'none' }));
let dataDir: string;
let scope: Scope;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'cloudos-native-api-'));
  scope = new Scope('spec');
});
afterEach(async () => {
  await scope.close();
  rmSync(dataDir, { recursive: true });
});

const ok: NativeRequestHandler = (_request, response) => sendJson(response, 200, { ok: true });
function listener(given: Readonly<Record<string, unknown>> = {}, handle = ok): NativeListener {
  return new NativeListener({
    context: { scope, logger: silentLogger, dataDir },
    config: config.parse(given),
    handle,
  });
}
/** With headers that `fetch` does not let one set. */
const statusOf = (url: string, headers: Record<string, string>) =>
  new Promise<number | undefined>((resolve, reject) => {
    get(url, { headers, agent: false }, (response: IncomingMessage) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });

describe('the listener of a native API', () => {
  it('lets nobody in without the token where one is asked for', async () => {
    const { url } = await listener({ token: 'file' }).open();
    const token = readFileSync(join(dataDir, 'token'), 'utf8').trim();
    expect(statSync(join(dataDir, 'token')).mode & 0o777).toBe(0o600);
    expect(await statusOf(url, {})).toBe(401);
    expect(await statusOf(url, { authorization: `Bearer ${token}x` })).toBe(401);
    expect(await statusOf(url, { authorization: `Bearer ${token}` })).toBe(200);
    await scope.close();
    scope = new Scope('again');
    const again = await listener({ token: 'file' }).open();
    expect(await statusOf(again.url, { authorization: `Bearer ${token}` })).toBe(200);
  });

  it('keeps pages in a browser out, those that are led here by a name of their own too', async () => {
    const { url } = await listener().open();
    expect(await statusOf(url, {})).toBe(200);
    expect(await statusOf(url, { origin: 'https://evil.example' })).toBe(403);
    expect(await statusOf(url, { host: 'evil.example:80' })).toBe(403);
    expect(await statusOf(url, { host: 'localhost:1' })).toBe(200);
  });

  it('does not serve everyone without a token', async () => {
    await expect(listener({ host: '0.0.0.0' }).open()).rejects.toMatchObject({ code: 'PLUGIN_CONFIG_INVALID' });
  });

  it('ends streams that are open when it closes', async () => {
    const endless = listener({}, (_request, response) => void response.write('one'));
    const { url } = await endless.open();
    const response = await fetch(url);
    const reading = response.text();
    await endless.close();
    await expect(reading).rejects.toThrow();
    expect(scope.open()).toEqual(['native api']);
  });

  it('answers what a handler throws, and goes on', async () => {
    let calls = 0;
    const { url } = await listener({}, (request, response) => {
      if (++calls === 1) throw new Error('a mistake');
      return ok(request, response);
    }).open();
    expect(await statusOf(url, {})).toBe(500);
    expect(await statusOf(url, {})).toBe(200);
  });

  it('bounds what it reads', async () => {
    const { url } = await listener({}, async (request, response) => {
      const code = await readBody(request, { maxBytes: 1_000 }).then(
        () => 'read',
        (error: { code: string }) => error.code,
      );
      sendJson(response, 200, { code });
    }).open();
    const post = async (bytes: number) =>
      (await fetch(url, { method: 'POST', body: 'x'.repeat(bytes) })).json() as Promise<{ code: string }>;
    expect(await post(1_000)).toEqual({ code: 'read' });
    expect(await post(1_001)).toEqual({ code: 'REQUEST_TOO_LARGE' });
  });
});
