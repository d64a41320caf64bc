import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { virtualSize } from './base-disk.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cloudos-disk-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function qcow2(change: (head: Buffer) => void = () => {}): Promise<string> {
  const head = Buffer.alloc(112);
  head.set([0x51, 0x46, 0x49, 0xfb]);
  head.writeUInt32BE(3, 4);
  head.writeBigUInt64BE(5n * 2n ** 30n, 24);
  change(head);
  const path = join(directory, 'disk.qcow2');
  await writeFile(path, head);
  return path;
}

test('the size is that of the file, or what the header says', async () => {
  await writeFile(join(directory, 'raw'), Buffer.alloc(4_096));
  expect(await virtualSize(join(directory, 'raw'), 'raw')).toBe(4_096);
  expect(await virtualSize(await qcow2(), 'qcow2')).toBe(5 * 2 ** 30);
});

test('a disk that would open other files of the node is refused', async () => {
  const refused = { code: 'IMAGE_UNSUITABLE' };
  const overlay = await qcow2((head) => head.writeBigUInt64BE(104n, 8));
  await expect(virtualSize(overlay, 'qcow2')).rejects.toMatchObject(refused);
  const elsewhere = await qcow2((head) => head.writeBigUInt64BE(4n, 72));
  await expect(virtualSize(elsewhere, 'qcow2')).rejects.toMatchObject(refused);
  await writeFile(join(directory, 'cut'), Buffer.from([0x51, 0x46, 0x49, 0xfb]));
  await expect(virtualSize(join(directory, 'cut'), 'qcow2')).rejects.toMatchObject(refused);
});
