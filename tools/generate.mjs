// npm run generate -- plugin <slot> <technology>: writes a new plugin that builds and passes its conformance suite.
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { fail, root, run, runTool, say } from './lib/workspace.mjs';

await ensureInstalled();
await ensureBuilt();
const { generatedSlots, generatePlugin } = await import('./dist/index.js');

const [what, slot, technology, ...more] = process.argv.slice(2);
if (what !== 'plugin' || !generatedSlots.includes(slot) || !technology || more.length > 0) {
  fail(`usage: npm run generate -- plugin <${generatedSlots.join('|')}> <technology>`);
}
const name = `${slot}-${technology}`;
try {
  for (const path of generatePlugin(root, `${root}/tools/templates`, slot, technology)) say(`wrote ${path}`);
} catch (error) {
  fail(error.message);
}
await runTool('@biomejs/biome/bin/biome', [
  'check',
  '--write',
  '--log-level=error',
  `plugins/${name}`,
  'tsconfig.json',
]);
say('Linking it into the workspace …');
const code = await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']);
if (code !== 0) fail('npm install failed; its message is above.');
say(`
Made plugins/${name}. Next:
  npm test -- --only ${name}     builds it and runs its conformance suite
  plugins/${name}/src/plugin.ts  is where it begins`);
