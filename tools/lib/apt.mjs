import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isThere } from './components.mjs';
import { fail, run, say } from './workspace.mjs';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** There for the time of an installation, so that nothing else is ever taken from it. */
const backportsSource = '/etc/apt/sources.list.d/cloudos-backports.list';

export function isDebian() {
  return isThere('apt-get') && /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release());
}

/**
 * Installs packages of Debian or Ubuntu, as root. Those that may be of the backports are taken from there where the
 * release has none of its own, and passed over by name where there are none either. Ends the process on failure.
 */
export async function install(components) {
  await apt(['update', '-q']);
  const lacking = components.filter(({ package: name, backports }) => backports && !hasCandidate(name));
  try {
    if (lacking.length > 0) await addBackports();
    const found = components.filter((component) => !lacking.includes(component) || hasCandidate(component.package));
    for (const component of components.filter((each) => !found.includes(each))) {
      say(`Passed over: this release has no ${component.package}.`);
    }
    const names = found.map((component) => component.package);
    if (names.length > 0) await apt(['install', '-y', '-q', '--no-install-recommends', ...names]);
  } finally {
    rmSync(backportsSource, { force: true });
  }
}

/** From where this machine has the rest of its release. Where they cannot be read, there are none. */
async function addBackports() {
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(release())?.[1] ?? '';
  const query = ['Created-By: Packages', 'Origin: Debian', 'Component: main', `Codename: ${codename}`];
  const [address] = output('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...query]).split('\n');
  if (!address) return;
  const options = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  writeFileSync(backportsSource, `deb ${options}${address} ${codename}-backports main\n`);
  if ((await aptCode(['update', '-q'])) === 0) return;
  rmSync(backportsSource, { force: true });
  await apt(['update', '-q']);
}

function hasCandidate(name) {
  return /Candidate: (?!\(none\))/.test(output('apt-cache', ['policy', name]));
}

function release() {
  try {
    return readFileSync('/etc/os-release', 'utf8');
  } catch {
    return '';
  }
}

function output(command, args) {
  return execFileSync(command, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
}

function aptCode(args) {
  return run('apt-get', args, { env: { DEBIAN_FRONTEND: 'noninteractive' } });
}

async function apt(args) {
  const code = await aptCode(args);
  if (code === 0) return;
  rmSync(backportsSource, { force: true });
  fail(`apt-get ${args.join(' ')} failed with exit code ${code}; its own message is above.`);
}
