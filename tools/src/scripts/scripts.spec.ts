import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkNode,
  inNamespaces,
  install,
  namespacesAreThere,
  parseArguments,
  reports,
  table,
} from './scripts.fixture.ts';

describe('the summary of test reports', () => {
  const file = (name: string, statuses: readonly string[], status = 'passed', message = '') => ({
    name: `/another/checkout/packages/a/src/${name}`,
    status,
    message,
    assertionResults: statuses.map((each, index) => ({
      status: each,
      fullName: `case ${index} (needs root)`,
      failureMessages: each === 'failed' ? ['expected 1'] : [],
    })),
  });
  const summarize = (testResults: readonly object[], specs: readonly string[] = [], success = true) =>
    reports.summarize('a', 'packages/a/src/', specs, { success, testResults });

  it('counts what passed and names what failed or was skipped', () => {
    const result = summarize([file('a.spec.ts', ['passed', 'failed', 'skipped', 'pending', 'todo'], 'failed')]);
    expect([result.passed, result.failed.length, result.skipped.length]).toEqual([1, 1, 3]);
    expect(result.failed[0]).toEqual({ title: 'a: a.spec.ts: case 1 (needs root)', message: 'expected 1' });
    expect(result.skipped[0]?.title).toContain('(needs root)');
  });

  it.each([
    ['a file that could not be loaded', summarize([file('a.spec.ts', [], 'failed', 'SyntaxError')])],
    ['a file that is missing in the report', summarize([file('a.spec.ts', ['passed'])], ['a.spec.ts', 'b.spec.ts'])],
    ['a run that failed outside of any test', summarize([file('a.spec.ts', ['passed'])], [], false)],
    ['a report that is none', reports.summarize('a', 'packages/a/src/', [], undefined)],
  ])('takes %s for a failure', (_what, result) => {
    expect(result.failed).toHaveLength(1);
  });

  it('takes a project for failed that has specs and left no report', () => {
    const folder = mkdtempSync(join(tmpdir(), 'silent-'));
    const relativeFolder = relative(fileURLToPath(new URL('../../..', import.meta.url)), folder);
    mkdirSync(join(folder, 'src'));
    expect(reports.readReport({ name: 'silent', folder: relativeFolder }).failed).toEqual([]);
    writeFileSync(join(folder, 'src/a.spec.ts'), '');
    const { failed } = reports.readReport({ name: 'silent', folder: relativeFolder });
    rmSync(folder, { recursive: true });
    expect(failed).toEqual([{ title: expect.stringContaining('left no report'), message: '' }]);
  });

  it('puts together what parts of a project have reported', () => {
    const folder = mkdtempSync(join(tmpdir(), 'parts-'));
    const relativeFolder = relative(fileURLToPath(new URL('../../..', import.meta.url)), folder);
    mkdirSync(join(folder, 'src'));
    for (const [name, reported] of [
      ['a.spec.ts', 'reports'],
      ['b.spec.ts', 'reports-apart'],
    ] as const) {
      writeFileSync(join(folder, 'src', name), '');
      mkdirSync(join(folder, reported));
      const testResults = [file(`${relativeFolder}/src/${name}`, ['passed'])];
      writeFileSync(join(folder, reported, 'test.json'), JSON.stringify({ success: true, testResults }));
    }
    const project = { name: 'parts', folder: relativeFolder };
    const whole = reports.readReport(project);
    rmSync(join(folder, 'reports-apart'), { recursive: true });
    const half = reports.readReport(project);
    rmSync(folder, { recursive: true });
    expect(whole).toEqual({ passed: 2, failed: [], skipped: [] });
    expect(half.failed).toEqual([{ title: 'parts: b.spec.ts is missing in the report', message: '' }]);
  });

  it('tells what a plugin does not support from what the machine lacks', () => {
    const tests = [
      'guest conformance of guest-x stats are refused',
      'guest conformance of guest-x (cannot run: no KVM) stats are refused',
      'guest conformance of guest-x limits memory',
      'zones as root (needs root: run as root) start',
    ].map((fullName) => ({ fullName, status: 'skipped' }));
    const report = {
      success: true,
      testResults: [{ name: '/packages/a/src/a.spec.ts', status: 'passed', assertionResults: tests }],
    };
    const reasons = { 'guest conformance of guest-x limits memory': 'no memory controller' };
    const { skipped } = reports.summarize('a', 'packages/a/src/', [], report, reasons);
    expect(skipped.map(({ title }) => title)).toEqual([
      expect.stringContaining('cannot run: no KVM'),
      expect.stringContaining('(no memory controller)'),
      expect.stringContaining('needs root'),
    ]);
  });

  it('knows a spec file wherever the checkout lay when it ran', () => {
    const result = summarize([file('deep/a.spec.ts', ['passed'])], ['deep/a.spec.ts']);
    expect(result).toEqual({ passed: 1, failed: [], skipped: [] });
  });

  it('adds up', () => {
    const one = summarize([file('a.spec.ts', ['passed', 'skipped'])]);
    expect(reports.total([one, one])).toMatchObject({ passed: 2, failed: [], skipped: [{}, {}] });
  });
});

describe('whether dependencies are installed', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'install-'));
    mkdirSync(join(folder, 'node_modules/@cloudos/a'), { recursive: true });
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const wanted = {
    '': { name: 'root' },
    'node_modules/zod': { version: '4.0.0' },
    'node_modules/other-system': { version: '1.0.0', optional: true },
    'node_modules/@cloudos/a': { resolved: 'packages/a', link: true },
  };
  const given = (installed: object | undefined) => {
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: wanted }));
    const hidden = join(folder, 'node_modules/.package-lock.json');
    if (installed) writeFileSync(hidden, JSON.stringify({ packages: installed }));
    return install.whyNotInstalled(folder);
  };
  const { 'node_modules/zod': zod, 'node_modules/@cloudos/a': link } = wanted;

  it('is told by what is there, without what belongs to other systems', () => {
    expect(given({ 'node_modules/zod': zod, 'node_modules/@cloudos/a': link })).toBeUndefined();
  });

  it('names the first thing that is amiss', () => {
    expect(given(undefined)).toBe('node_modules is missing');
    expect(given({ 'node_modules/@cloudos/a': link })).toBe('node_modules/zod is missing');
    const old = { 'node_modules/zod': { version: '3.0.0' }, 'node_modules/@cloudos/a': link };
    expect(given(old)).toBe('node_modules/zod is 3.0.0, wanted 4.0.0');
    rmSync(join(folder, 'node_modules/@cloudos/a'), { recursive: true });
    expect(given({ 'node_modules/zod': zod, 'node_modules/@cloudos/a': link })).toContain('@cloudos/a is missing');
  });
});

describe('the version of Node.js', () => {
  it.each(['18.20.0', '20.18.9'])('%s is too old, and the message says what to do', (version) => {
    expect(checkNode(version)).toMatch(/20\.19 or later.*nodejs\.org/);
  });

  it.each(['20.19.0', '22.0.0', '24.1.0'])('%s will do', (version) => {
    expect(checkNode(version)).toBeUndefined();
  });
});

describe('arguments', () => {
  it('are read as options, and the rest is passed on', () => {
    const options = { only: 'list', quick: 'flag', json: 'value' };
    expect(parseArguments(['--only', 'a,b', '--only=c', '--quick', '--json=x', '-t', 'name'], options)).toEqual({
      only: ['a', 'b', 'c'],
      quick: true,
      json: 'x',
      rest: ['-t', 'name'],
    });
    expect(() => parseArguments(['--json'], options)).toThrow('--json needs a value');
  });
});

describe.skipIf(!namespacesAreThere())('a line of tests (needs root: run the tests as root)', () => {
  const run = (script: string) => {
    const { status, stdout } = spawnSync(...inNamespaces('sh', ['-c', script]), { encoding: 'utf8' });
    return { status, lines: stdout.trim().split('\n') };
  };

  it('has a network, processes and mounts of its own, and the control groups of the machine', () => {
    expect(run('ls /sys/class/net; ip -o link show up | wc -l; exit 7')).toEqual({ status: 7, lines: ['lo', '1'] });
    expect(run('ls /sys/fs/cgroup').lines.sort()).toEqual(readdirSync('/sys/fs/cgroup').sort());
    const there = mkdtempSync(join(tmpdir(), 'line-'));
    expect(run(`mount -t tmpfs none ${there} && touch ${there}/file && echo made`).lines).toEqual(['made']);
    expect(readdirSync(there)).toEqual([]);
    rmSync(there, { recursive: true });
  });

  it('ends with all its processes, and takes up those that nobody waits for', () => {
    const unending = `9000${process.pid}`;
    const taken = 'for turn in $(seq 100); do ps -e -o stat= | grep -q Z || { echo taken; exit; }; sleep 0.05; done';
    const { lines } = run(`setsid sleep ${unending} & (true &); echo $PPID; ${taken}`);
    expect(lines).toEqual(['1', 'taken']);
    expect(spawnSync('pgrep', ['-f', `sleep ${unending}`]).status).toBe(1);
  });
});

describe('the table of figures', () => {
  it('says of each whether it was met', () => {
    const row = { value: 1234.5, unit: 'events/s', bound: 2000, ratio: 0.617, target: '>= 0.5' };
    const lines = table([
      { ...row, name: 'a.b', met: true },
      { ...row, name: 'c', met: false, value: 0.1234 },
      { name: 'd', value: 12, unit: 'MB', bound: null, ratio: null, target: 'report', met: null },
    ]).split('\n');
    expect(lines[1]).toMatch(/^a\.b\s+1,235\s+events\/s\s+2,000\s+0\.62\s+>= 0\.5\s+yes$/);
    expect(lines[2]).toMatch(/^c\s+0\.123\s.*NO$/);
    expect(lines[3]).toMatch(/^d\s+12\.0\s+MB\s+–\s+–\s+report\s+reported$/);
  });
});
