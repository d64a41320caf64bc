// npm test: sets itself up, then builds, lints, type-checks and runs every test that this machine can run.
// Options: --only <project> (may be repeated). Anything else goes to vitest: npm test -- --only sdk -t scope
import { join } from 'node:path';
import { parseArguments } from './lib/arguments.mjs';
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { inNamespaces, namespacesAreThere } from './lib/namespaces.mjs';
import { clearReports, emptyResult, failure, readReport, total } from './lib/reports.mjs';
import { fail, filesBelow, projects, root, run, runTool, say } from './lib/workspace.mjs';

/** Projects whose `*.int.spec.ts` need nothing of the machine but processes and ports of their own. */
const withoutGuests = new Set(['cli', 'gateway', 'tools']);
/** Of those with guests on the machine: one half, by the time that they take. The other has the tests across packages. */
const firstHalf = new Set(['guest-hyper', 'guest-lxd', 'guest-vm', 'images', 'node-network', 'qemu', 'test-images']);
/** Without guests: what is run while the images that the first half needs are made. */
const meanwhile = new Set(['resources-borg', 'resources-yarn', 'tools']);

const started = Date.now();
const { only, rest } = parseArguments(process.argv.slice(2), { only: 'list' });
const chosen = choose(only);

await ensureInstalled();
await ensureBuilt();

const results = [];
// What takes long to make and is kept on the machine, while the processors are not all busy.
const prepared = rest.length === 0 && chosen.some(needsTheMachine) ? prepare() : Promise.resolve();
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
  const early = others.filter(({ name }) => meanwhile.has(name));
  const late = others.filter((project) => !early.includes(project));
  const first = guests.filter(({ name }) => firstHalf.has(name));
  const second = guests.filter((project) => !first.includes(project));
  // What works on the machine itself must not meet another that does: lines of it that run beside each other have network,
  // processes and mounts of their own, and where those cannot be had they run in turn.
  const apart = namespacesAreThere();
  const ofFirst = inTurn([
    () => runTests('tests without guests, while images are made', early),
    () => prepared,
    () => runTests('tests with guests, first half', first, { apart }),
  ]);
  const ofSecond = inTurn([
    () => (apart ? undefined : ofFirst),
    () => runTests('tests with guests, second half', second, { apart }),
    () => prepared,
    () => runTests('tests across packages, with guests', across, { part: 'guests', apart }),
  ]);
  const ofOthers = inTurn([
    () => runTests('tests without guests', late),
    () => runTests('tests across packages, without guests', across, { target: 'test-apart' }),
  ]);
  await Promise.all([ofFirst, ofSecond, ofOthers]);
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

/** Images that need the package archive: what has a network of its own has no way there. Who needs them says if they lack. */
async function prepare() {
  if (process.getuid?.() !== 0) return;
  await run(process.execPath, [join(root, 'tools/prepare.mjs')]).catch(() => {});
}

function runNx(target, group, { args = [], env = {}, apart = false } = {}) {
  const projects = group.map((project) => project.package).join(',');
  const command = ['run-many', '-t', target, `--projects=${projects}`, '--parallel=1', ...args];
  const tool = 'nx/dist/bin/nx.js';
  if (!apart) return runTool(tool, command, { env });
  return run(...inNamespaces(process.execPath, [join(root, 'node_modules', tool), ...command]), {
    env,
    endBy: 'SIGKILL',
  });
}

async function check(what, command, remedy, tool, args) {
  say(`\n── ${what} (${command})`);
  const code = await runTool(tool, args);
  if (code === 0) return;
  const title = `${what}: ${command} ended with ${code}${remedy ? `; try ${remedy}` : ''}`;
  results.push({ ...emptyResult(), failed: [{ title, message: '' }] });
}

/** What the tests come to is in their reports; here is noted only what is not. */
async function runTests(what, group, { target = 'test', part, apart } = {}) {
  if (group.length === 0) return;
  say(`\n── ${what}: ${group.map(({ name }) => name).join(', ')}`);
  const code = await runNx(target, group, {
    args: ['--excludeTaskDependencies', ...rest],
    env: part ? { CLOUDOS_TEST_PART: part } : {},
    apart,
  });
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
