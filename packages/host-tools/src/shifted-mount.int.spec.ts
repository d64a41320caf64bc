import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from './host-command.ts';
import { mountAt, unmountBelow } from './mount-table.ts';
import { mountShifted, shiftedMountObstacle } from './shifted-mount.ts';

const obstacle = shiftedMountObstacle();

describe.skipIf(obstacle !== undefined)(`a mount with other owners (${obstacle?.remedy ?? 'real mounts'})`, () => {
  let root: string;
  const at = (name: string) => join(root, name);
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'cloudos-shifted-'));
    chmodSync(root, 0o755);
    for (const name of ['source', 'target']) mkdirSync(at(name), { mode: 0o700 });
    writeFileSync(at('source/note'), 'from the node', { mode: 0o600 });
  });
  afterEach(async () => {
    await unmountBelow(root);
    rmSync(root, { recursive: true, force: true });
  });
  /** As root of a guest whose users are those from 300000 on. */
  const asGuest = (script: string) =>
    runCommand('setpriv', [
      '--reuid=300000',
      '--regid=300000',
      '--clear-groups',
      'sh',
      '-c',
      script,
      'sh',
      at('target'),
    ]);

  test('what belongs to root belongs to the root of the guest, both ways', async () => {
    await mountShifted({ source: at('source'), target: at('target'), readOnly: false, base: 300_000, count: 65_536 });
    expect(await asGuest('cat "$1/note"')).toBe('from the node');
    await asGuest('echo answer >"$1/answer"; chmod 4755 "$1/answer"');
    expect(statSync(at('source/answer'))).toMatchObject({ uid: 0, gid: 0 });
    expect(statSync(at('target/answer'))).toMatchObject({ uid: 300_000, gid: 300_000 });
    expect([...(mountAt(at('target'))?.options ?? [])]).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'rw']));
  });

  test('one that is read-only is not written to', async () => {
    await mountShifted({ source: at('source'), target: at('target'), readOnly: true, base: 300_000, count: 65_536 });
    await expect(asGuest('echo other >"$1/note"')).rejects.toThrow(/Read-only file system/);
  });

  test('what cannot be is said, and leaves nothing mounted', async () => {
    const wrong = { source: at('missing'), target: at('target'), readOnly: true, base: 300_000, count: 65_536 };
    await expect(mountShifted(wrong)).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    expect(mountAt(at('target'))).toBeUndefined();
  });
});
