import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

/** `nobody` on every distribution. */
const ordinaryUser = 65_534;
const asUser = ['--reuid', String(ordinaryUser), '--regid', String(ordinaryUser), '--clear-groups'];
const project = dirname(dirname(fileURLToPath(import.meta.url)));

const obstacle = findObstacle();
const title = `zones as an ordinary user${obstacle ? ` (cannot run: ${obstacle})` : ''}`;

describe.skipIf(obstacle !== undefined)(title, () => {
  test('the conformance suite passes, and leaves no process', () => {
    const home = mkdtempSync(join(tmpdir(), 'cloudos-rootless-'));
    chownSync(home, ordinaryUser, ordinaryUser);
    const report = join(home, 'report.json');
    const vitest = fileURLToPath(import.meta.resolve('vitest')).replace(/dist\/.*/, 'vitest.mjs');
    const suite = ['run', 'src/guest-zones.int.spec.ts', '--configLoader', 'runner', '--no-cache'];
    const args = [
      ...asUser,
      process.execPath,
      vitest,
      ...suite,
      '--reporter=verbose',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ];
    const ran = spawnSync('setpriv', args, {
      cwd: project,
      env: { PATH: process.env.PATH ?? '', HOME: home, TMPDIR: home },
      timeout: 110_000,
    });
    const progress = `${ran.stdout}`.slice(-2_000);
    expect(existsSync(report), `no report; the last that was seen: ${progress}`).toBe(true);
    const written = readFileSync(report, 'utf8');
    const result = JSON.parse(written) as {
      numPassedTests: number;
      testResults: { assertionResults: { status: string; fullName: string; failureMessages: string[] }[] }[];
    };
    const failed = result.testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ status }) => status === 'failed');
    expect(failed.map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]}`)).toEqual([]);
    expect(ran.status, ran.stderr.toString()).toBe(0);
    expect(result.numPassedTests).toBeGreaterThan(30);
    expect(execFileSync('ps', ['-eo', 'args']).toString()).not.toContain(home);
    rmSync(home, { recursive: true, force: true });
  }, 120_000);
});

/** Why an ordinary user cannot be played here; undefined where it can. As one already, the plain suite has shown it. */
function findObstacle(): string | undefined {
  if (process.geteuid?.() !== 0) return 'the suite itself ran as one; run as root to see both';
  const enter = spawnSync('setpriv', [...asUser, 'unshare', '--user', '--map-root-user', '--mount', 'true']);
  if (enter.status !== 0) return 'no user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0';
  const reads = spawnSync('setpriv', [...asUser, 'test', '-r', join(project, 'package.json')]);
  if (reads.status !== 0) return `an ordinary user cannot read ${project}: chmod o+rx its directories`;
  const runs = spawnSync('setpriv', [...asUser, process.execPath, '--version']);
  if (runs.status !== 0) return `an ordinary user cannot run ${process.execPath}: install Node.js below /usr`;
  return undefined;
}
