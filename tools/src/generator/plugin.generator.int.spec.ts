import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generatedSlots, generatePlugin } from './plugin.generator.ts';

const checkout = fileURLToPath(new URL('../../..', import.meta.url));
const templates = join(checkout, 'tools/templates');
const run = promisify(execFile);

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'cloudos-generator-'));
  mkdirSync(join(root, 'plugins'));
  for (const name of readdirSync(join(checkout, 'plugins'))) {
    symlinkSync(join(checkout, 'plugins', name), join(root, 'plugins', name));
  }
  for (const name of [
    'node_modules',
    'packages',
    'tools',
    'test',
    'tsconfig.base.json',
    'vitest.shared.ts',
    'package.json',
  ]) {
    symlinkSync(join(checkout, name), join(root, name));
  }
  cpSync(join(checkout, 'tsconfig.json'), join(root, 'tsconfig.json'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const node = (tool: string, args: string[], cwd: string) =>
  run(process.execPath, [join(checkout, 'node_modules', tool), ...args], {
    cwd,
    timeout: 90_000,
    killSignal: 'SIGKILL',
  }).then(
    ({ stdout }) => ({ code: 0, output: stdout }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      output: `${error.stdout}${error.stderr}`,
    }),
  );

const available = generatedSlots.filter((slot) => existsSync(join(templates, slot)));

describe.each(available)('a new %s plugin', (slot) => {
  it('builds, lints and passes its conformance suite', async () => {
    generatePlugin(root, templates, slot, 'brand-new');
    const folder = join(root, 'plugins', `${slot}-brand-new`);
    const format = ['check', '--write', `--config-path=${checkout}`, '--vcs-enabled=false', folder];
    expect(await node('@biomejs/biome/bin/biome', format, root)).toMatchObject({ code: 0 });
    expect(await node('typescript/bin/tsc', ['-b', folder], root)).toEqual({ code: 0, output: '' });
    const tests = await node('vitest/vitest.mjs', ['run', '--no-color', '--pool=threads'], folder);
    expect(tests.output).toMatch(/Tests\s+\d+ passed/);
    expect(tests.code).toBe(0);
  }, 120_000);
});

describe('the generator', () => {
  it('has a template for every slot that it offers', () => {
    expect(available).toEqual(generatedSlots);
  });

  it('refuses a name that is not kebab-case, and a folder that exists', () => {
    expect(() => generatePlugin(root, templates, 'host', 'Mine')).toThrow(/kebab-case/);
    mkdirSync(join(root, 'plugins/host-mine'));
    expect(() => generatePlugin(root, templates, 'host', 'mine')).toThrow(/exists already/);
  });
});
