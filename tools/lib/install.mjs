import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkNode, fail, root, run, runTool, say } from './workspace.mjs';

/**
 * Why the installed dependencies are not those of package-lock.json, or undefined when they are.
 * Compares contents, not times: a checkout gives every file a new time.
 */
export function whyNotInstalled(folder = root) {
  const installed = readJson(join(folder, 'node_modules/.package-lock.json'));
  if (!installed) return 'node_modules is missing';
  const wanted = readJson(join(folder, 'package-lock.json'));
  if (!wanted) return undefined;
  for (const [path, entry] of Object.entries(wanted.packages ?? {})) {
    if (path === '') continue;
    const found = installed.packages?.[path];
    if (!found && (entry.optional || entry.devOptional || entry.peer)) continue;
    if (!found) return `${path} is missing`;
    if (found.version !== entry.version) return `${path} is ${found.version}, wanted ${entry.version}`;
    if (entry.link && !existsSync(join(folder, path))) return `${path} is missing`;
  }
  return undefined;
}

/** Installs the dependencies of package-lock.json unless they are there. Ends the process on failure. */
export async function ensureInstalled() {
  const tooOld = checkNode();
  if (tooOld) fail(tooOld);
  const reason = whyNotInstalled();
  if (!reason) return;
  say(`Installing dependencies (${reason}) …`);
  const started = Date.now();
  const npm = process.env.npm_execpath;
  // Not `npm ci`: it refuses a lock file that lacks the optional packages of other systems. What the lock file names is
  // installed as it says; --no-save leaves it as it is.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  const code = npm?.endsWith('.js') ? await run(process.execPath, [npm, ...args]) : await run('npm', args);
  if (code !== 0) {
    fail(
      `npm install failed with exit code ${code}; its own message is above. Is the npm registry reachable from here (npm ping)?`,
    );
  }
  say(`Installed in ${seconds(started)} s.`);
}

/** Compiles what changed since the last time. Ends the process on failure. */
export async function ensureBuilt() {
  const first = !existsSync(join(root, 'packages/cli/dist'));
  if (first) say('Building …');
  const started = Date.now();
  const code = await runTool('typescript/bin/tsc', ['-b']);
  if (code !== 0) fail('The build failed; the errors are above.');
  if (first) say(`Built in ${seconds(started)} s.`);
}

function seconds(since) {
  return ((Date.now() - since) / 1000).toFixed(1);
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
