import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { takeStock } from './support/machine.ts';

interface Manifest {
  readonly name: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

const folder = fileURLToPath(new URL('../../packages/distributions/', import.meta.url));
const distributions = readdirSync(folder).map((name) => {
  const manifest = JSON.parse(readFileSync(path.join(folder, name, 'package.json'), 'utf8')) as Manifest;
  const [[command, bin] = ['', '']] = Object.entries(manifest.bin);
  return { name, manifest, command, bin: path.join(folder, name, bin) };
});

const home = mkdtempSync(path.join(tmpdir(), 'cloudos-distribution-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const stateDirOf = (bin: string) => path.join(home, path.basename(bin));

function run(bin: string, ...args: readonly string[]): Promise<{ code: number | null; text: string }> {
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', CLOUDOS_HOME: stateDirOf(bin) };
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], { env, cwd: home, timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : null) : 0, text: `${stdout}${stderr}` });
    });
  });
}

describe.each(distributions)('the distribution $name', ({ name, manifest, command, bin }) => {
  it('has a command of its own, after which it is called', async () => {
    expect(manifest.name).toBe(`@cloudos/distribution-${name}`);
    expect(command).toBe(`cloudos-${name}`);
    expect((await run(bin, '--help')).text).toContain(`Usage: ${command} `);
  });

  it('is a sound stack of plugins that it depends on', async () => {
    const { code, text } = await run(
      bin,
      'plugin',
      'list',
      '--stack',
      path.join(folder, name, 'stack.yaml'),
      '-o',
      'json',
    );
    expect([code, text]).toEqual([0, expect.stringContaining('[')]);
    const used = (JSON.parse(text) as { plugin: string; inStack: boolean }[])
      .filter(({ inStack }) => inStack)
      .map(({ plugin }) => plugin);
    expect(used.length).toBeGreaterThan(4);
    expect(used.map((plugin) => `@cloudos/${plugin}`).filter((each) => !(each in manifest.dependencies))).toEqual([]);
    expect(await run(bin, 'stack', 'validate', path.join(folder, name, 'stack.yaml'))).toMatchObject({ code: 0 });
  });
});

describe.each(['local', 'smartos-zones'])('the distribution %s', (which) => {
  it('boots its stack without being given one, and leaves nothing', async () => {
    const bin = distributions.find(({ name }) => name === which)?.bin ?? '';
    const before = takeStock(stateDirOf(bin));
    const up = await run(bin, 'up', '--detach');
    expect(up, up.text).toMatchObject({ code: 0 });
    expect(takeStock(stateDirOf(bin)).processes).not.toEqual([]);
    expect((await run(bin, 'status')).text).toContain(which);
    expect(await run(bin, 'down')).toMatchObject({ code: 0 });
    expect(takeStock(stateDirOf(bin))).toEqual(before);
  });
});

describe('the distribution smartos-zones', () => {
  const { bin } = distributions.find(({ name }) => name === 'smartos-zones') ?? { bin: '' };

  it('says what is missing where the driver of SmartOS is asked for', async () => {
    const stack = readFileSync(path.join(folder, 'smartos-zones', 'stack.yaml'), 'utf8');
    const file = path.join(home, 'smartos.yaml');
    writeFileSync(file, stack.replace('driver: auto', 'driver: smartos'));
    const { text } = await run(bin, 'doctor', '--stack-only', '--stack', file);
    expect(text).toContain('the driver smartos needs SmartOS, and this is linux');
    expect(text).toContain('set driver to auto or linux, or boot SmartOS');
  });
});
