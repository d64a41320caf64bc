import { readFileSync } from 'node:fs';

const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');

/** The code of the README's fence of that language that contains a text. There must be just one. */
export function readmeCode(language: string, contains: string): string {
  const found = [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, given, code]) => given === language && code?.includes(contains))
    .map(([, , code = '']) => code);
  if (found.length !== 1) throw new Error(`${found.length} fences of ${language} in the README contain ${contains}`);
  return found[0] ?? '';
}
