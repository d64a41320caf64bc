import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly data: Buffer;
}

const directory = 0o040755;
const program = 0o100755;
const file = 0o100644;

/** The agent as `/init`, and modules in the order of their loading. */
export async function initramfs(agent: string, modules: readonly string[]): Promise<Buffer> {
  const entries: Entry[] = [
    { name: 'init', mode: program, data: await readFile(agent) },
    { name: 'dev', mode: directory, data: Buffer.alloc(0) },
    { name: 'modules', mode: directory, data: Buffer.alloc(0) },
  ];
  for (const [index, path] of modules.entries()) {
    const name = `modules/${String(index).padStart(2, '0')}-${basename(path)}`;
    entries.push({ name, mode: file, data: await readFile(path) });
  }
  return cpio([...entries, { name: 'TRAILER!!!', mode: 0, data: Buffer.alloc(0) }]);
}

/** An archive in the format `newc` (Linux: driver-api/early-userspace/buffer-format.rst). */
function cpio(entries: readonly Entry[]): Buffer {
  const parts: Buffer[] = [];
  for (const [index, { name, mode, data }] of entries.entries()) {
    const fields = [index + 1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
    const numbers = fields.map((value) => value.toString(16).padStart(8, '0')).join('');
    parts.push(padded(Buffer.from(`070701${numbers}${name}\0`)), padded(data));
  }
  return Buffer.concat(parts);
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
}
