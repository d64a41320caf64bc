// npm run setup: installs every component that the tests use (Debian and Ubuntu, as root), then the dependencies.
import { existsSync } from 'node:fs';
import { install, isDebian } from './lib/apt.mjs';
import { components, isThere } from './lib/components.mjs';
import { ensureInstalled } from './lib/install.mjs';
import { fail, say } from './lib/workspace.mjs';

const missing = components
  .map((component) => ({ ...component, commands: missingOf(component) }))
  .filter(({ commands }) => commands.length > 0);

if (missing.length === 0) {
  say(`Every component is there: ${components.map((component) => component.package).join(', ')}.`);
} else {
  for (const { package: name, commands, purpose } of missing)
    say(`Missing: ${commands.join(', ')} (${name}: ${purpose})`);
  const packages = missing.map((component) => component.package);
  const command = `apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!isDebian()) fail(`This is not Debian or Ubuntu. Install what is missing with the means of this system.`);
  if (process.getuid?.() !== 0) fail(`Installing needs root. Run as root: ${command}`);
  say(`Installing ${packages.join(', ')} …`);
  await install(missing);
  say('Installed.');
}
await ensureInstalled();
say('Ready: npm test, npm start.');

function missingOf({ commands, files = [] }) {
  return [...commands.filter((command) => !isThere(command)), ...files.filter((file) => !existsSync(file))];
}
