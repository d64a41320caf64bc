import { errorTable } from '../docs/errors-page.ts';
import { eventsPage } from '../docs/events-page.ts';
import { type Files, type Manifest, parse } from './workspace.ts';

/** `docs/errors.md` has every code of the table with its meaning and remedy, and no other. */
export function errorDocViolations(files: Files, codes: Parameters<typeof errorTable>[0]): string[] {
  const text = files.get('docs/errors.md') ?? '';
  const documented = new Map([...text.matchAll(/^\| `([A-Z_]+)` \|.*$/gm)].map((match) => [match[1] ?? '', match[0]]));
  const wanted = new Map(
    errorTable(codes)
      .split('\n')
      .flatMap((row) => {
        const code = /^\| `([A-Z_]+)`/.exec(row)?.[1];
        return code ? [[code, row] as const] : [];
      }),
  );
  return [
    ...[...wanted]
      .filter(([code, row]) => documented.get(code) !== row)
      .map(([code]) => `docs/errors.md: ${code} is ${documented.has(code) ? 'out of date' : 'missing'}: npm run docs`),
    ...[...documented.keys()]
      .filter((code) => !wanted.has(code))
      .map((code) => `docs/errors.md: ${code} is not a code of the sdk: npm run docs`),
  ];
}

/** `docs/events.md` is what the schemas give. */
export function eventDocViolations(files: Files): string[] {
  return files.get('docs/events.md') === eventsPage() ? [] : ['docs/events.md is out of date: npm run docs'];
}

/** Every decision is linked from the list, and every link leads to one. */
export function adrViolations(files: Files): string[] {
  const list = files.get('docs/adr/README.md') ?? '';
  const linked = new Set([...list.matchAll(/\]\((\d{4}-[a-z0-9-]+\.md)\)/g)].map((match) => match[1] ?? ''));
  const there = new Set(
    [...files.keys()].filter((path) => /^docs\/adr\/\d{4}-/.test(path)).map((path) => path.slice('docs/adr/'.length)),
  );
  return [
    ...[...there].filter((name) => !linked.has(name)).map((name) => `docs/adr/README.md does not link ${name}`),
    ...[...linked]
      .filter((name) => !there.has(name))
      .map((name) => `docs/adr/README.md links ${name}, which is missing`),
  ];
}

/** Every relative link of a page leads to a file. */
export function linkViolations(files: Files): string[] {
  return [...files]
    .filter(([path]) => path.endsWith('.md'))
    .flatMap(([path, text]) =>
      [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)].flatMap((match) => {
        const target = new URL(match[1] ?? '', `file:///${path}`).pathname.slice(1);
        const found =
          files.has(target) || [...files.keys()].some((file) => file.startsWith(target.replace(/\/?$/, '/')));
        return found || target === 'LICENSE' ? [] : [`${path} links ${match[1]}, which is missing`];
      }),
    );
}

/** Every command in the README exists: npm scripts, and subcommands of `cloudos`. */
export function commandViolations(files: Files): string[] {
  const text = files.get('README.md') ?? '';
  const scripts = parse<Manifest>(files, 'package.json')?.scripts ?? {};
  const known = cliCommands(files);
  const npm = [...text.matchAll(/\bnpm (?:run )?([a-z][a-z:-]*)/g)]
    .map((match) => match[1] ?? '')
    .filter((name) => !['install', 'ci', 'run', 'init', 'publish', 'pack'].includes(name) && !(name in scripts))
    .map((name) => `README.md: npm run ${name} is no script of package.json`);
  const cli = [...text.matchAll(/\bnpx cloudos ([a-z][a-z-]*)/g)]
    .map((match) => match[1] ?? '')
    .filter((name) => !known.has(name))
    .map((name) => `README.md: cloudos ${name} is no command of the cli`);
  return [...new Set([...npm, ...cli])];
}

function cliCommands(files: Files): Set<string> {
  const texts = [...files].filter(([path]) => /^packages\/cli\/src\/(?!.*\.spec\.ts$)/.test(path));
  return new Set(
    texts.flatMap(([, text]) =>
      [...text.matchAll(/(?:\.command\(|new Command\()\s*['"`]([a-z][a-z-]*)/g)].map((match) => match[1] ?? ''),
    ),
  );
}
