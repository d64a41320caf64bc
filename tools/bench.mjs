// npm run bench -- [--only <prefix>] [--quick] [--json <file>] [--timeout <seconds>]
// Runs every benchmark in a process of its own, prints a table, and writes the rows as a JSON array.
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArguments } from './lib/arguments.mjs';
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { table } from './lib/table.mjs';
import { quietEnv, root, say } from './lib/workspace.mjs';

const usage = 'npm run bench -- [--only <prefix>] [--quick] [--json <file>] [--timeout <seconds>]';
const options = parseArguments(process.argv.slice(2), {
  only: 'value',
  quick: 'flag',
  json: 'value',
  timeout: 'value',
  help: 'flag',
});
if (options.help) {
  console.log(usage);
  process.exit(0);
}
if (options.rest.length > 0) {
  console.error(`not understood: ${options.rest.join(' ')}\nusage: ${usage}`);
  process.exit(2);
}
/** How long one benchmark file may take. */
const limitMs = 1000 * Number(options.timeout ?? (options.quick ? 180 : 1200));

await ensureInstalled();
await ensureBuilt();

const rows = [];
const failures = [];
let matched = 0;
for (const name of benchFiles()) {
  const outcome = await runFile(name);
  rows.push(...outcome.rows);
  if (!outcome.passedOver) matched += 1;
  if (outcome.failure) failures.push(`${name}: ${outcome.failure}`);
}
if (matched === 0) failures.push(`no benchmark begins with ${options.only ?? 'anything'}`);

console.log(table(rows));
if (options.json) {
  writeFileSync(resolve(process.env.INIT_CWD ?? process.cwd(), options.json), `${JSON.stringify(rows, null, 2)}\n`);
}
for (const failure of failures) console.error(`FAILED ${failure}`);
process.exit(failures.length > 0 ? 1 : 0);

/** The built benchmarks whose source is still there. */
function benchFiles() {
  return readdirSync(join(root, 'tools/src/bench'))
    .filter((file) => file.endsWith('.bench.ts'))
    .map((file) => file.slice(0, -3))
    .filter((name) => existsSync(join(root, `tools/dist/bench/${name}.js`)))
    .sort();
}

function runFile(name) {
  mkdirSync(join(root, '.cloudos'), { recursive: true });
  const workDir = mkdtempSync(join(root, '.cloudos/bench-'));
  const file = join(root, `tools/dist/bench/${name}.js`);
  const job = { file, only: options.only ?? null, quick: options.quick === true, workDir };
  const outcome = { rows: [], passedOver: false, failure: undefined };
  return new Promise((resolve) => {
    const child = fork(join(root, 'tools/dist/bench/main.js'), [JSON.stringify(job)], {
      // Room for young objects: subject and bound alike spend their time on the work, not on moving survivors.
      execArgv: ['--expose-gc', '--max-semi-space-size=64'],
      env: { ...process.env, ...quietEnv },
    });
    const timer = setTimeout(() => {
      outcome.failure = `did not end within ${limitMs / 1000} s`;
      child.kill('SIGKILL');
    }, limitMs);
    const interrupt = () => child.kill('SIGKILL');
    process.once('SIGINT', interrupt);
    child.on('message', (message) => {
      if (message.kind === 'row') outcome.rows.push(message.row);
      if (message.kind === 'row') say(`  ${message.row.name}: ${message.row.value} ${message.row.unit}`);
      if (message.kind === 'progress') say(`[${name}] ${message.text}`);
      if (message.kind === 'passed-over') outcome.passedOver = true;
    });
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      process.off('SIGINT', interrupt);
      rmSync(workDir, { recursive: true, force: true });
      if (code !== 0) outcome.failure ??= signal ? `ended by ${signal}` : `ended with exit code ${code}`;
      resolve(outcome);
    });
  });
}
