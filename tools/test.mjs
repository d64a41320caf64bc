// npm test: sets itself up, then builds, lints, type-checks and runs every test that this machine can run.
// Options: --only <project> (may be repeated). Anything else goes to vitest: npm test -- --only sdk -t scope
import { join } from 'node:path';
import { parseArguments } from './lib/arguments.mjs';
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { clearReports, emptyResult, readReport, total } from './lib/reports.mjs';
import { fail, filesBelow, projects, root, runTool, say } from './lib/workspace.mjs';

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
// What works on the machine itself must not meet another that does: those run one at a time, the widest last.
const last = chosen.filter(({ name }) => name === 'test');
const real = chosen.filter((project) => !last.includes(project) && usesTheMachine(project));
const pure = chosen.filter((project) => !last.includes(project) && !real.includes(project));
await runTests('unit tests', pure, 2);
await runTests('tests with real components', real, 1);
await runTests('tests across packages', last, 1);

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

function usesTheMachine({ folder }) {
  return filesBelow(join(root, folder, 'src')).some((file) => file.endsWith('.int.spec.ts'));
}

async function check(what, command, remedy, tool, args) {
  say(`\n── ${what} (${command})`);
  const code = await runTool(tool, args);
  if (code === 0) return;
  const title = `${what}: ${command} ended with ${code}${remedy ? `; try ${remedy}` : ''}`;
  results.push({ ...emptyResult(), failed: [{ title, message: '' }] });
}

async function runTests(what, group, parallel) {
  if (group.length === 0) return;
  say(`\n── ${what}: ${group.map(({ name }) => name).join(', ')}`);
  const names = group.map((project) => project.package).join(',');
  const code = await runTool('nx/dist/bin/nx.js', [
    'run-many',
    '-t',
    'test',
    `--projects=${names}`,
    `--parallel=${parallel}`,
    ...rest,
  ]);
  const outcome = total(group.map((project) => readReport(project, { whole: rest.length === 0 })));
  if (code !== 0 && outcome.failed.length === 0) {
    outcome.failed.push({ title: `${what}: nx ended with ${code}; its output is above`, message: '' });
  }
  results.push(outcome);
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
