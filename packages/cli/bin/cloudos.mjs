#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/main.js', import.meta.url);
if (existsSync(main)) {
  const { main: run } = await import(main.href);
  await run(process.argv);
} else {
  console.error('error: cloudos is not built\n  do    run `npm install && npm run build` in the checkout');
  process.exitCode = 1;
}
