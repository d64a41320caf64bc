import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Programs in C that need nothing of the guest but its kernel: see the head of each in `programs/`. */
export type TestProgram = 'counter' | 'probe';

const run = promisify(execFile);
const flags = ['-O2', '-static', '-s', '-Wall', '-Wextra', '-Werror'];

/** A static program, compiled once for each state of its source and kept in the temporary directory of the machine. */
export async function buildProgram(name: TestProgram): Promise<string> {
  const source = fileURLToPath(new URL(`../programs/${name}.c`, import.meta.url));
  const key = createHash('sha256').update(readFileSync(source)).update(flags.join(' ')).digest('hex').slice(0, 16);
  const cache = join(tmpdir(), `cloudos-test-programs-${process.getuid?.() ?? 0}`);
  const path = join(cache, `${name}-${key}`);
  if (existsSync(path)) return path;
  await mkdir(cache, { recursive: true, mode: 0o755 });
  const half = `${path}.${process.pid}`;
  try {
    await run('gcc', [...flags, '-o', half, source], { timeout: 60_000 });
    await rename(half, path);
  } finally {
    await rm(half, { force: true });
  }
  return path;
}
