// npm start: sets itself up, boots the local stack and shows a workload running on it.
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { run } from './lib/workspace.mjs';

await ensureInstalled();
await ensureBuilt();
process.exit(
  await run(process.execPath, [
    'packages/cli/bin/cloudos.mjs',
    'up',
    '--stack',
    'packages/distributions/local/stack.yaml',
    '--apply',
    'examples/web.yaml',
    '--show',
    ...process.argv.slice(2),
  ]),
);
