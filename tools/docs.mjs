// npm run docs: writes the pages under docs/ that are generated from the sdk.
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { root, say } from './lib/workspace.mjs';

await ensureInstalled();
await ensureBuilt();
const { writeDocs } = await import('./dist/index.js');
for (const path of writeDocs(root)) say(`wrote ${path}`);
