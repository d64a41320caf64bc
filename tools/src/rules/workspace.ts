import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Text of the files that the rules look at, by path relative to the checkout. Specs make small ones by hand. */
export type Files = ReadonlyMap<string, string>;

export interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly nx?: { readonly tags?: readonly string[] };
}

/** One npm package of the workspace. */
export interface Project {
  /** `kernel`, `log-lmdb`: the package name without its scope. */
  readonly name: string;
  /** `packages/kernel`. */
  readonly folder: string;
  readonly manifest: Manifest;
  /** Layer in the table of the boundaries; every plugin is a `plugin`. */
  readonly layer: string;
  readonly sources: readonly Source[];
}

export interface Source {
  readonly path: string;
  readonly text: string;
  /** Specs and what only they import: not part of the package as others see it. */
  readonly isTest: boolean;
}

const roots = ['packages', 'plugins', 'tools', 'test', 'docs', 'stacks', 'examples', '.ci'];
const skipped = new Set(['node_modules', 'dist', 'reports', 'reports-apart', 'fixtures', '.cloudos']);
const taken = /\.(ts|mjs|md|json|ya?ml|sh)$|^\.ci\/run$/;

/** Reads the checkout. */
export function loadFiles(root: string): Files {
  const files = new Map<string, string>();
  const walk = (folder: string) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!skipped.has(entry.name) && (folder !== '' || roots.includes(entry.name))) walk(path);
      } else if (taken.test(path) && entry.name !== 'package-lock.json') {
        files.set(path, readFileSync(join(root, path), 'utf8'));
      }
    }
  };
  walk('');
  return files;
}

export function projectsOf(files: Files): Project[] {
  return [...files.keys()]
    .filter((path) => /^((packages|plugins)\/[^/]+|tools|test)\/package\.json$/.test(path))
    .map((path) => projectAt(path.slice(0, -'/package.json'.length), files));
}

function projectAt(folder: string, files: Files): Project {
  const manifest = parse<Manifest>(files, `${folder}/package.json`) ?? { name: folder };
  const name = manifest.name.replace(/^@cloudos\//, '');
  const sources = [...files]
    .filter(([path]) => path.startsWith(`${folder}/src/`) && path.endsWith('.ts'))
    .map(([path, text]) => ({ path, text, isTest: isTest(folder, path) }));
  return { name, folder, manifest, layer: folder.startsWith('plugins/') ? 'plugin' : name, sources };
}

function isTest(folder: string, path: string): boolean {
  return folder === 'test' || isSpecFile(path);
}

/** What the build leaves out: specs, and the helpers that only they import. */
export function isSpecFile(path: string): boolean {
  return /(\.(spec|fixture)|\/spec-kit)\.ts$/.test(path);
}

export function parse<T>(files: Files, path: string): T | undefined {
  const text = files.get(path);
  return text === undefined ? undefined : (JSON.parse(text) as T);
}
