// npm test: sets itself up, then builds, lints, type-checks and runs every test that this machine can run.
// Options: --only <project> (may be repeated). Anything else goes to vitest: npm test -- --only sdk -t scope
import { join } from 'node:path';
import { parseArguments } from './lib/arguments.mjs';
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { clearReports, emptyResult, failure, readReport, total } from './lib/reports.mjs';
import { fail, filesBelow, projects, root, runTool, say } from './lib/workspace.mjs';

/** Projects whose `*.int.spec.ts` need nothing of the machine but processes and ports of their own. */
const withoutGuests = new Set(['cli', 'gateway', 'tools']);

const started = Date.now();
const { only, rest } = parseArguments(process.argv.slice(2), { only: 'list' });
const chosen = choose(only);

await ensureInstalled();
await ensureBuilt();

const results = [];
if (!only) {
  await check('lint', 'biome check .', 'npm run format', '@biomejs/biome/bin/biome', ['check', '.']);
  await check('types of the specs', 'tsc -p tsconfig.spec.json', '', 'typescript/bin/tsc', [
    '-p',
    'tsconfig.spec.json',
  ]);
}

clearReports(chosen);
if (rest.length > 0) {
  await runTests('tests', chosen);
} else {
  const across = chosen.filter(({ name }) => name === 'test');
  const guests = chosen.filter((project) => !across.includes(project) && needsTheMachine(project));
  const others = chosen.filter((project) => !across.includes(project) && !guests.includes(project));
  await build(chosen);
  // What works on the machine itself must not meet another that does: those run one at a time, the widest last. They
  // mostly wait for guests; what needs only processes and ports of its own runs beside them.
  await Promise.all([
    inTurn([
      () => runTests('tests with guests', guests),
      () => runTests('tests across packages, with guests', across, { part: 'guests' }),
    ]),
    inTurn([
      () => runTests('tests without guests', others),
      () => runTests('tests across packages, without guests', across, { target: 'test-apart' }),
    ]),
  ]);
  for (const project of chosen) results.push(readReport(project));
}

finish(total(results));

function choose(names) {
  const all = projects();
  if (!names) return all;
  return names.map(
    (wanted) =>
      all.find(({ name, package: full }) => wanted === name || wanted === full) ??
      fail(`--only ${wanted}: no such project. There are: ${all.map(({ name }) => name).join(', ')}`),
  );
}

function needsTheMachine({ name, folder }) {
  if (withoutGuests.has(name)) return false;
  return filesBelow(join(root, folder, 'src')).some((file) => file.endsWith('.int.spec.ts'));
}

async function inTurn(steps) {
  for (const step of steps) await step();
}

/** Before the tests, so that no build replaces files that another test is reading. */
async function build(group) {
  const code = await runNx('build', group, 2);
  if (code !== 0) fail(`the build ended with ${code}; its output is above`);
}

function runNx(target, group, parallel, args = [], env = {}) {
  const projects = group.map((project) => project.package).join(',');
  const command = ['run-many', '-t', target, `--projects=${projects}`, `--parallel=${parallel}`, ...args];
  return runTool('nx/dist/bin/nx.js', command, { env });
}

async function check(what, command, remedy, tool, args) {
  say(`\n── ${what} (${command})`);
  const code = await runTool(tool, args);
  if (code === 0) return;
  const title = `${what}: ${command} ended with ${code}${remedy ? `; try ${remedy}` : ''}`;
  results.push({ ...emptyResult(), failed: [{ title, message: '' }] });
}

/** What the tests come to is in their reports; here is noted only what is not. */
async function runTests(what, group, { target = 'test', part } = {}) {
  if (group.length === 0) return;
  say(`\n── ${what}: ${group.map(({ name }) => name).join(', ')}`);
  const code = await runNx(
    target,
    group,
    1,
    ['--excludeTaskDependencies', ...rest],
    part ? { CLOUDOS_TEST_PART: part } : {},
  );
  const outcome = total(group.map((project) => readReport(project, { whole: false })));
  if (code !== 0 && outcome.failed.length === 0) {
    results.push(failure(`${what}: nx ended with ${code}; its output is above`));
  }
  if (rest.length > 0) results.push(outcome);
}

function finish({ passed, failed, skipped }) {
  const forbidSkips = process.env.CLOUDOS_FORBID_SKIPS === '1';
  if (skipped.length > 0) {
    console.log(`\nSkipped${forbidSkips ? ' (which counts as a failure here)' : ''}:`);
    for (const { title } of skipped) console.log(`  - ${title}`);
  }
  if (failed.length > 0) {
    console.log('\nFailed:');
    for (const { title, message } of failed) {
      console.log(`  - ${title}`);
      const lines = message.split('\n').filter((line) => !/^\s+at .*node_modules/.test(line));
      for (const line of lines.slice(0, 6)) if (line.trim()) console.log(`      ${line}`);
    }
  }
  console.log(`\nTook ${Math.round((Date.now() - started) / 1000)} s.`);
  console.log(`${passed} passed, ${failed.length} failed, ${skipped.length} skipped`);
  process.exit(failed.length > 0 || (forbidSkips && skipped.length > 0) ? 1 : 0);
}
