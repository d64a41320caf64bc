import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What the plugins of a slot depend on beside the sdk. */
interface SlotNeeds {
  readonly packages: readonly string[];
  readonly npm: readonly string[];
}

const needs = {
  guest: { packages: [], npm: ['rxjs', 'zod'] },
  host: { packages: [], npm: ['rxjs', 'zod'] },
  log: { packages: ['event-log'], npm: ['zod'] },
  resources: { packages: ['placement'], npm: ['zod'] },
  orchestrator: { packages: [], npm: ['zod'] },
  api: { packages: ['native-api'], npm: ['zod'] },
} as const satisfies Record<string, SlotNeeds>;

/** Slots for which there is a template. */
export type GeneratedSlot = keyof typeof needs;
export const generatedSlots = Object.keys(needs) as GeneratedSlot[];

/**
 * Writes `plugins/<slot>-<technology>`: a complete, minimal provider of the slot that builds and passes its suite.
 * Adds it to the references of the root. Refuses to touch a folder that exists.
 * @returns the paths it wrote, relative to the checkout
 */
export function generatePlugin(root: string, templates: string, slot: GeneratedSlot, technology: string): string[] {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(technology)) {
    throw new Error(`technology ${JSON.stringify(technology)}: kebab-case is expected, as in \`my-runtime\``);
  }
  const name = `${slot}-${technology}`;
  const folder = `plugins/${name}`;
  if (existsSync(join(root, folder))) throw new Error(`${folder} exists already`);
  const variables = variablesOf(name, technology);
  const written: string[] = [];
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    written.push(path);
  };
  for (const source of [join(templates, 'common'), join(templates, slot)]) {
    for (const [path, text] of templatesIn(source)) {
      const target = path.replaceAll(/\bname\b/g, name).replaceAll(/\btechnology\b/g, technology);
      write(`${folder}/${target}`, fill(text, variables));
    }
  }
  write(`${folder}/package.json`, json(manifestOf(root, slot, name)));
  const config = join(root, folder, 'tsconfig.json');
  const references = ['sdk', ...needs[slot].packages].map((target) => ({ path: `../../packages/${target}` }));
  writeFileSync(config, json({ ...(JSON.parse(readFileSync(config, 'utf8')) as object), references }));
  addReference(root, folder);
  return written;
}

function templatesIn(folder: string): [path: string, text: string][] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.template'))
    .map((path) => [path.slice(0, -'.template'.length), readFileSync(join(folder, path), 'utf8')]);
}

function variablesOf(name: string, technology: string): Record<string, string> {
  const pascal = technology.replaceAll(/(?:^|-)([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
  const camel = `${pascal[0]?.toLowerCase()}${pascal.slice(1)}`;
  return { name, technology, Pascal: pascal, camel, SNAKE: technology.toUpperCase().replaceAll('-', '_') };
}

function fill(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_match, name: string) => {
    const value = variables[name];
    if (value === undefined) throw new Error(`the template has an unknown variable {{${name}}}`);
    return value;
  });
}

/** Versions are those that the rest of the workspace uses. */
function manifestOf(root: string, slot: GeneratedSlot, name: string): object {
  const sdk = readManifest(join(root, 'packages/sdk/package.json'));
  const own = Object.fromEntries(
    ['sdk', ...needs[slot].packages].map((target) => [`@cloudos/${target}`, sdk.version] as const),
  );
  const npm = Object.fromEntries(needs[slot].npm.map((target) => [target, sdk.dependencies[target] ?? '*'] as const));
  const entry = { '@cloudos/source': './src/index.ts', types: './dist/index.d.ts', default: './dist/index.js' };
  return {
    name: `@cloudos/${name}`,
    version: sdk.version,
    description: `The ${name} plugin`,
    license: 'Apache-2.0',
    type: 'module',
    exports: { '.': entry, './package.json': './package.json' },
    files: ['dist', 'src'],
    keywords: ['cloudos-plugin'],
    dependencies: { ...own, ...npm },
    devDependencies: { '@cloudos/conformance': sdk.version },
    nx: { tags: ['layer:plugin'], targets: { build: {}, lint: {}, test: {} } },
  };
}

function readManifest(path: string): { version: string; dependencies: Record<string, string> } {
  return JSON.parse(readFileSync(path, 'utf8')) as { version: string; dependencies: Record<string, string> };
}

function addReference(root: string, folder: string): void {
  const path = join(root, 'tsconfig.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { references: { path: string }[] };
  const at = config.references.findIndex((reference) => reference.path === 'tools');
  config.references.splice(at < 0 ? config.references.length : at, 0, { path: folder });
  writeFileSync(path, json(config));
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
