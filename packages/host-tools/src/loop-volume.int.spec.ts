import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from './host-command.ts';
import { LoopVolume } from './loop-volume.ts';
import { mountAt, mountOf } from './mount-table.ts';

const obstacle = LoopVolume.obstacle();

describe.skipIf(obstacle !== undefined)(`a volume in a file (${obstacle?.remedy ?? 'real btrfs'})`, () => {
  let root: string;
  let volume: LoopVolume;
  const sizeBytes = 512 * 2 ** 20;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'cloudos-volume-'));
    volume = new LoopVolume({ directory: join(root, 'content'), image: join(root, 'content.img'), sizeBytes });
  });
  afterEach(async () => {
    await volume.remove();
    rmSync(root, { recursive: true, force: true });
  });
  const devices = () => execFileSync('losetup', ['-a']).toString();

  test('holds what it may and takes what is written, and is found by whoever comes next', async () => {
    expect([volume.exists, volume.isMounted]).toEqual([false, false]);
    await volume.ensure();
    expect(mountAt(join(root, 'content'))).toMatchObject({ type: 'btrfs' });
    expect(mountOf(join(root, 'content', 'nothing/there'))?.point).toBe(join(root, 'content'));
    const { size, blocks } = statSync(join(root, 'content.img'));
    expect(size).toBe(sizeBytes);
    expect(blocks * 512).toBeLessThan(sizeBytes / 8);
    writeFileSync(join(root, 'content/note'), 'kept');
    const next = new LoopVolume({ directory: join(root, 'content'), image: join(root, 'content.img'), sizeBytes: 1 });
    await next.ensure();
    // As after a start of the machine.
    await runCommand('umount', [join(root, 'content')]);
    expect([next.exists, next.isMounted]).toEqual([true, false]);
    await next.ensure();
    expect(readFileSync(join(root, 'content/note'), 'utf8')).toBe('kept');
    await runCommand('sh', ['-c', `! head -c ${sizeBytes} /dev/zero >"$1"`, 'sh', join(root, 'content/much')]);
  });

  test('bounds what a subvolume has of its own', async () => {
    await volume.ensure();
    const [image, guest] = [join(root, 'content/image'), join(root, 'content/guest')];
    await runCommand('btrfs', ['subvolume', 'create', image]);
    writeFileSync(join(image, 'big'), Buffer.alloc(16 * 2 ** 20));
    await runCommand('btrfs', ['subvolume', 'snapshot', image, guest]);
    await volume.limit(guest, 8 * 2 ** 20);
    writeFileSync(join(guest, 'little'), Buffer.alloc(4 * 2 ** 20));
    const much = runCommand('dd', ['if=/dev/zero', `of=${join(guest, 'much')}`, 'bs=1M', 'count=8', 'conv=fsync']);
    await expect(much).rejects.toThrow(/Disk quota exceeded/);
    expect(statSync(join(guest, 'big')).size).toBe(16 * 2 ** 20);
  });

  test('is gone when it is removed, with its device', async () => {
    await volume.ensure();
    expect(devices()).toContain(root);
    await volume.remove();
    expect(existsSync(join(root, 'content.img'))).toBe(false);
    expect(existsSync(join(root, 'content'))).toBe(false);
    expect(devices()).not.toContain(root);
    await volume.remove();
  });

  test('is not mounted over what is there', async () => {
    mkdirSync(join(root, 'content'));
    writeFileSync(join(root, 'content/mine'), '');
    await expect(volume.ensure()).rejects.toMatchObject({ code: 'HOST_COMMAND_FAILED' });
    rmSync(join(root, 'content/mine'));
  });
});
