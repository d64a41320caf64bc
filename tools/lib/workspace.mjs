// Plain JavaScript, Node built-ins only: this runs before dependencies are installed.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the checkout. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The oldest Node.js that is supported. */
export const nodeMinimum = [20, 19];

/** Ends the process with a message for people and exit code 1. */
export function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Says what is being done, on standard error, so that standard output stays for results. */
export function say(message) {
  process.stderr.write(`${message}\n`);
}

export function checkNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor, wantedMinor] = nodeMinimum;
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return undefined;
  return `cloudos needs Node.js ${nodeMinimum.join('.')} or later, this is ${version}. Get it from https://nodejs.org`;
}

/** Nothing of what runs here may call home. */
export const quietEnv = {
  NX_DAEMON: 'false',
  NX_NO_CLOUD: 'true',
  NX_TUI: 'false',
  DO_NOT_TRACK: '1',
  npm_config_update_notifier: 'false',
};

/**
 * Runs a command in the checkout, with the terminal of this process, and forwards signals to it: each as `endBy` where
 * that is given, for what does not heed them.
 * @returns its exit code; 128 + n when signal n ended it
 */
export function run(command, args, { env = {}, cwd = root, stdio = 'inherit', endBy } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio, env: { ...process.env, ...quietEnv, ...env } });
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    // From a terminal the whole group gets SIGINT by itself; a second one would mean "at once" to the child.
    const forward = (signal) => {
      if (signal === 'SIGINT' && process.stdin.isTTY) return;
      child.kill(endBy ?? signal);
    };
    for (const signal of signals) process.on(signal, forward);
    const done = () => {
      for (const signal of signals) process.off(signal, forward);
    };
    child.on('error', (error) => {
      done();
      reject(error);
    });
    child.on('exit', (code, signal) => {
      done();
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/** Runs the entry point of an installed package with this Node.js. */
export function runTool(path, args, options) {
  return run(process.execPath, [join(root, 'node_modules', path), ...args], options);
}

/** Every project of the workspace: short name, package name, folder relative to the checkout. */
export function projects() {
  const folders = [
    ...['packages', 'plugins'].flatMap((parent) =>
      existsSync(join(root, parent)) ? readdirSync(join(root, parent)).map((name) => `${parent}/${name}`) : [],
    ),
    'tools',
    'test',
  ];
  return folders
    .filter((folder) => existsSync(join(root, folder, 'package.json')))
    .map((folder) => {
      const manifest = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
      return { name: manifest.name.replace(/^@cloudos\//, ''), package: manifest.name, folder };
    });
}

/** Files below a folder, relative to it. */
export function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1));
}
