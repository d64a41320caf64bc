import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PluginEntry, Stack } from '@cloudos/kernel';
import { checkConfig, expectSlot, type LoadedPlugin, loadPlugin } from '@cloudos/plugin-bus';
import { errorCode, type SlotName } from '@cloudos/sdk';

interface Reference {
  readonly slot: SlotName;
  readonly entry: PluginEntry;
}

/** Every plugin that a stack names, once for each configuration. */
export function referencesOf(stack: Stack): Reference[] {
  const references: Reference[] = [
    { slot: 'log', entry: stack.log },
    { slot: 'resources', entry: stack.resources },
    { slot: 'orchestrator', entry: stack.orchestrator },
    ...(stack.ingress ? [{ slot: 'ingress' as const, entry: stack.ingress }] : []),
    ...(stack.apis ?? []).map((entry) => ({ slot: 'api' as const, entry })),
    ...stack.nodes.flatMap(({ host, guests }) => [
      { slot: 'host' as const, entry: host },
      ...guests.map((entry) => ({ slot: 'guest' as const, entry })),
    ]),
  ];
  const seen = new Set<string>();
  return references.filter((reference) => {
    const key = JSON.stringify(reference);
    return !seen.has(key) && seen.add(key);
  });
}

/**
 * Loads the plugins of a stack and checks their slots and configuration. Nothing is started.
 * @throws CloudosError PLUGIN_NOT_FOUND, PLUGIN_INVALID, PLUGIN_API_VERSION, SLOT_MISMATCH, PLUGIN_CONFIG_INVALID
 */
export async function checkStackPlugins(stack: Stack): Promise<LoadedPlugin[]> {
  const plugins: LoadedPlugin[] = [];
  for (const { slot, entry } of referencesOf(stack)) {
    const plugin = await loadPlugin(entry.plugin, stack.dir);
    expectSlot(plugin, slot);
    checkConfig(plugin.definition, entry.config);
    plugins.push(plugin);
  }
  return plugins;
}

const pluginName = /^(log|resources|orchestrator|host|guest|ingress|network|migration|api)-/;

/** Plugins that are installed beside a directory or beside cloudos: by the name of their package. */
export async function installedPluginList(dir: string): Promise<LoadedPlugin[]> {
  const names = new Set<string>();
  for (const modules of [...modulesAbove(dir), ...modulesAbove(dirname(fileURLToPath(import.meta.url)))]) {
    for (const name of entriesOf(join(modules, '@cloudos'))) if (pluginName.test(name)) names.add(name);
    for (const name of entriesOf(modules)) if (name.startsWith('cloudos-plugin-')) names.add(name);
  }
  const loaded = await Promise.all(
    [...names].sort().map((name) =>
      loadPlugin(name, dir).catch((error: unknown) => {
        // A package of such a name need not be a plugin.
        if (errorCode(error) !== undefined) return undefined;
        throw error;
      }),
    ),
  );
  return loaded.filter((plugin) => plugin !== undefined);
}

function modulesAbove(dir: string): string[] {
  const found: string[] = [];
  for (let at = dir; ; at = dirname(at)) {
    const modules = join(at, 'node_modules');
    if (existsSync(modules)) found.push(modules);
    if (at === dirname(at)) return found;
  }
}

function entriesOf(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}
