import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
  type AnyPlugin,
  apiVersion,
  CloudosError,
  describeIssues,
  messageOf,
  type SlotName,
  slots,
} from '@cloudos/sdk';

/** A plugin definition and where it came from. */
export interface LoadedPlugin {
  readonly definition: AnyPlugin;
  readonly version: string;
  /** What it was asked for by: npm name, short name or path. */
  readonly reference: string;
  /** What the module exports besides: a log plugin may offer `openLogReader(path)`. Absent for a plugin in memory. */
  readonly exports?: Readonly<Record<string, unknown>>;
}

/** Finds plugins by reference. */
export interface PluginSource {
  /** Errors: PLUGIN_NOT_FOUND, PLUGIN_INVALID, PLUGIN_API_VERSION. */
  load(reference: string): Promise<LoadedPlugin>;
}

/**
 * Plugins from npm packages and paths. A reference is a path (`./`, `../` or `/` at its start; a package folder or a
 * module), or a package name: as it is, as `@cloudos/<name>`, or as `cloudos-plugin-<name>`. Names are looked for
 * beside the stack file first, then beside cloudos itself.
 */
export function installedPlugins(baseDir: string): PluginSource {
  const loaded = new Map<string, Promise<LoadedPlugin>>();
  return {
    load(reference) {
      let loading = loaded.get(reference);
      if (!loading) {
        loading = loadPlugin(reference, baseDir);
        loaded.set(reference, loading);
        loading.catch(() => loaded.delete(reference));
      }
      return loading;
    },
  };
}

/** Plugins that are in memory already, by name; others come from the next source. For tests and distributions. */
export function givenPlugins(definitions: readonly AnyPlugin[], next?: PluginSource): PluginSource {
  const byName = new Map(definitions.map((definition) => [definition.name, definition]));
  return {
    async load(reference) {
      const definition = byName.get(reference);
      if (definition) return { definition: checkDefinition(definition, reference), version: '0.0.0', reference };
      if (next) return next.load(reference);
      throw notFound(reference, [...byName.keys()]);
    },
  };
}

/** Loads one plugin. See {@link installedPlugins} for how a reference is resolved. */
export async function loadPlugin(reference: string, baseDir: string): Promise<LoadedPlugin> {
  const found = isPath(reference)
    ? resolvePath(path.resolve(baseDir, reference), reference)
    : resolveName(reference, baseDir);
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(found.entry).href)) as { default?: unknown };
  } catch (error) {
    throw new CloudosError(
      'PLUGIN_NOT_FOUND',
      `plugin ${reference}: ${found.entry} cannot be loaded: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
  const definition = checkDefinition(module.default, reference);
  return { definition, version: found.version, reference, exports: { ...module } };
}

/** The configuration with defaults filled in. @throws CloudosError PLUGIN_CONFIG_INVALID with path, given, expected */
export function checkConfig(definition: AnyPlugin, config: unknown): unknown {
  const given = config ?? {};
  const parsed = definition.config.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new CloudosError('PLUGIN_CONFIG_INVALID', `${definition.name}: config ${describeIssues(parsed.error, given)}`);
}

interface Found {
  entry: string;
  version: string;
}

const isPath = (reference: string) => /^\.{0,2}\//.test(reference);

function resolvePath(target: string, reference: string): Found {
  if (!existsSync(target)) throw notFound(reference, [target]);
  if (!statSync(target).isDirectory()) return { entry: target, version: versionAbove(path.dirname(target)) };
  const manifest = path.join(target, 'package.json');
  if (!existsSync(manifest)) throw notFound(reference, [manifest]);
  const { exports, main, version } = JSON.parse(readFileSync(manifest, 'utf8')) as {
    exports?: Record<string, unknown> | string;
    main?: string;
    version?: string;
  };
  const entry = path.join(target, entryOf(exports) ?? main ?? 'index.js');
  if (!existsSync(entry)) {
    throw new CloudosError('PLUGIN_NOT_FOUND', `plugin ${reference}: ${entry} does not exist`, {
      remedy: 'Build the plugin first (npm run build).',
    });
  }
  return { entry, version: version ?? '0.0.0' };
}

function entryOf(exports: Record<string, unknown> | string | undefined): string | undefined {
  if (typeof exports === 'string') return exports;
  const root = exports?.['.'] ?? exports;
  if (typeof root === 'string') return root;
  const conditions = root as Record<string, unknown> | undefined;
  const entry = conditions?.import ?? conditions?.default;
  return typeof entry === 'string' ? entry : undefined;
}

function resolveName(reference: string, baseDir: string): Found {
  const candidates = [reference, `@cloudos/${reference}`, `cloudos-plugin-${reference}`];
  const bases = [path.join(baseDir, 'stack.yaml'), fileURLToPath(import.meta.url)];
  for (const base of bases) {
    const { resolve } = createRequire(base);
    for (const candidate of candidates) {
      try {
        const entry = resolve(candidate);
        if (!path.isAbsolute(entry)) continue;
        return { entry, version: versionAbove(path.dirname(entry)) };
      } catch (error) {
        if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') {
          throw new CloudosError('PLUGIN_NOT_FOUND', `plugin ${reference}: ${messageOf(error)}`, { cause: error });
        }
      }
    }
  }
  throw notFound(reference, candidates);
}

function versionAbove(dir: string): string {
  for (let at = dir; ; at = path.dirname(at)) {
    const manifest = path.join(at, 'package.json');
    if (existsSync(manifest))
      return (JSON.parse(readFileSync(manifest, 'utf8')) as { version?: string }).version ?? '0.0.0';
    if (at === path.dirname(at)) return '0.0.0';
  }
}

function notFound(reference: string, tried: readonly string[]): CloudosError {
  return new CloudosError('PLUGIN_NOT_FOUND', `plugin ${reference} cannot be found; looked for ${tried.join(', ')}`, {
    remedy: `Install it (npm install ${reference}) or give the path of its folder, beginning with "./".`,
  });
}

function checkDefinition(value: unknown, reference: string): AnyPlugin {
  const definition = value as Partial<AnyPlugin> | undefined | null;
  const missing = (['name', 'slot', 'apiVersion', 'config', 'create'] as const).filter(
    (key) => definition?.[key] === undefined,
  );
  if (!definition || typeof definition !== 'object' || missing.length > 0) {
    throw new CloudosError(
      'PLUGIN_INVALID',
      `plugin ${reference}: the default export is not a plugin definition (missing: ${missing.join(', ')})`,
    );
  }
  if (!Object.hasOwn(slots, definition.slot as string)) {
    const known = Object.keys(slots).join(', ');
    throw new CloudosError(
      'PLUGIN_INVALID',
      `plugin ${reference}: slot ${definition.slot} does not exist; slots are ${known}`,
    );
  }
  if (definition.apiVersion !== apiVersion) {
    throw new CloudosError(
      'PLUGIN_API_VERSION',
      `plugin ${reference} is made for apiVersion ${definition.apiVersion}, this kernel has apiVersion ${apiVersion}`,
      { details: { given: definition.apiVersion, expected: apiVersion } },
    );
  }
  return definition as AnyPlugin;
}

/** @throws CloudosError SLOT_MISMATCH when the plugin is made for another slot */
export function expectSlot(plugin: LoadedPlugin, slot: SlotName): void {
  if (plugin.definition.slot === slot) return;
  throw new CloudosError(
    'SLOT_MISMATCH',
    `plugin ${plugin.reference} is made for slot ${plugin.definition.slot}, it was given for slot ${slot}`,
  );
}
