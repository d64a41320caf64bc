import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pluginDataDir, readStack } from '@cloudos/kernel';
import { checkConfig, expectSlot, loadPlugin } from '@cloudos/plugin-bus';
import {
  CloudosError,
  type LogProvider,
  newId,
  type PluginDefinition,
  Scope,
  silentLogger,
  systemClock,
} from '@cloudos/sdk';
import { connectTo } from './endpoint.ts';

/** A log opened without a kernel. */
export interface LogAtRest {
  readonly log: LogProvider;
  readonly plugin: string;
  close(): Promise<void>;
}

/** What a log plugin may export, so that its log can be read while another process writes it. */
type OpenLogReader = (directory: string) => Promise<LogProvider & { close(): Promise<void> }>;

/**
 * Opens the log of a state directory for reading, with the plugin that the stack file names. A plugin that exports
 * `openLogReader(directory)` is read beside a running kernel; another one only when no kernel runs.
 * @throws CloudosError of the stack file, of the plugin, LOG_UNAVAILABLE, LOG_CORRUPT, LOG_HELD
 */
export async function openForReading(stackFile: string, stateDir: string): Promise<LogAtRest> {
  const { plugin, config, directory } = await logPluginOf(stackFile, stateDir);
  const openLogReader = plugin.exports?.openLogReader as OpenLogReader | undefined;
  if (typeof openLogReader !== 'function') return open(plugin, config, directory, stateDir);
  if (!existsSync(directory)) {
    throw new CloudosError('LOG_UNAVAILABLE', `there is no log in ${directory}`, {
      remedy: 'Name the state directory with --state-dir, and its stack with --stack.',
    });
  }
  const log = await openLogReader(directory);
  return { log, plugin: plugin.definition.name, close: () => log.close() };
}

/** Opens the log for writing. @throws CloudosError LOG_HELD, KERNEL_ALREADY_RUNNING */
export async function openForWriting(stackFile: string, stateDir: string): Promise<LogAtRest> {
  const { plugin, config, directory } = await logPluginOf(stackFile, stateDir);
  return open(plugin, config, directory, stateDir);
}

async function logPluginOf(stackFile: string, stateDir: string) {
  const stack = await readStack(stackFile);
  const plugin = await loadPlugin(stack.log.plugin, stack.dir);
  expectSlot(plugin, 'log');
  const config = checkConfig(plugin.definition, stack.log.config);
  const { path } = (config ?? {}) as { path?: unknown };
  const directory = typeof path === 'string' ? resolve(path) : pluginDataDir(stateDir, plugin.definition.name);
  return { plugin, config, directory };
}

async function open(
  { definition }: Awaited<ReturnType<typeof loadPlugin>>,
  config: unknown,
  dataDir: string,
  stateDir: string,
): Promise<LogAtRest> {
  const running = await connectTo(stateDir);
  if (running) {
    throw new CloudosError(
      'KERNEL_ALREADY_RUNNING',
      `the kernel (process ${running.pid}) holds the log of ${stateDir}`,
      {
        remedy: 'Stop it first with `cloudos stop`; guests go on running.',
      },
    );
  }
  const scope = new Scope('log at rest');
  try {
    const { create } = definition as PluginDefinition<'log', unknown>;
    const log = (await create(
      { scope, logger: silentLogger, clock: systemClock, newId, generation: 1, dataDir, stateDir, fail: () => {} },
      config,
    )) as LogProvider;
    return { log, plugin: definition.name, close: () => scope.close() };
  } catch (error) {
    await scope.close();
    throw error;
  }
}
