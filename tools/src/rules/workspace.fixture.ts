import { fileURLToPath } from 'node:url';
import { type Files, loadFiles } from './workspace.ts';

/** The checkout that the rules hold for. */
export const checkout: Files = loadFiles(fileURLToPath(new URL('../../..', import.meta.url)));

/** A small workspace made of these files; a package.json is added to each project that lacks one. */
export function workspaceOf(given: Readonly<Record<string, string | object>>): Files {
  const files = new Map<string, string>();
  for (const [path, content] of Object.entries(given)) {
    files.set(path, typeof content === 'string' ? content : JSON.stringify(content));
    const folder = /^((?:packages|plugins)\/[^/]+|tools|test)\//.exec(path)?.[1];
    if (!folder) continue;
    const manifest = `${folder}/package.json`;
    if (!files.has(manifest)) files.set(manifest, JSON.stringify({ name: `@cloudos/${folder.split('/').at(-1)}` }));
  }
  return files;
}
