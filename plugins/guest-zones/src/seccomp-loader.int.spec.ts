import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seccompLoader } from './seccomp-loader.ts';

const program = seccompLoader();
const title = `the seccomp loader${program ? '' : ` (cannot run: there is none for ${process.arch})`}`;

describe.skipIf(!program)(title, () => {
  let directory: string;
  let loader: string;
  const run = (...command: string[]) => spawnSync(loader, command, { env: { KEPT: 'yes' }, timeout: 60_000 });
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'cloudos-seccomp-'));
    loader = join(directory, 'loader');
    writeFileSync(loader, program ?? '');
    chmodSync(loader, 0o755);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('becomes the program, with its arguments and its environment', () => {
    const { status, stdout } = run('/bin/sh', '-c', 'echo "$KEPT $0 $1"; exit 7', 'one', 'two words');
    expect([status, stdout.toString()]).toEqual([7, 'yes one two words\n']);
  });
  it('is under a filter, and so is what it starts', () => {
    const { stdout } = run('/bin/sh', '-c', 'grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status');
    expect(stdout.toString()).toBe('NoNewPrivs:\t1\nSeccomp:\t2\n');
  });
  it('refuses what is on its list, and lets the rest be', () => {
    expect(run('/usr/bin/unshare', '--user', 'true').stderr.toString()).toContain('Operation not permitted');
    expect(run('/usr/bin/nsenter', '-t', '1', '-u', 'true').status).not.toBe(0);
    const threads = "new (require('worker_threads').Worker)('console.log(1)', { eval: true })";
    expect(run(process.execPath, '-e', threads).stdout.toString()).toBe('1\n');
    expect(run('/bin/sh', '-c', '(sleep 0.01; echo forked) & wait').stdout.toString()).toBe('forked\n');
  });
  it('says when there is no such program', () => {
    expect(run('/no/such/program').status).toBe(127);
  });
});
