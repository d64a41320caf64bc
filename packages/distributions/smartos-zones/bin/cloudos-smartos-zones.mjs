#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { main } from '@cloudos/cli';

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
await main(process.argv, {
  command: 'cloudos-smartos-zones',
  description: manifest.description,
  version: manifest.version,
  stackFile: fileURLToPath(new URL('../stack.yaml', import.meta.url)),
});
