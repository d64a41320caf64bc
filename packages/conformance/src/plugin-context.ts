import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, newId, type PluginContext, Scope, silentLogger, systemClock } from '@cloudos/sdk';

export interface PluginContextOptions {
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** For `host` and `guest` plugins. */
  readonly node?: { readonly id: string };
  /** Default: a temporary directory that the plugin makes, removed when the scope closes. One that is given is left alone. */
  readonly dataDir?: string;
  /** Default: `state` in the data directory, which no plugin uses for something else. */
  readonly stateDir?: string;
  /** Default 1. */
  readonly generation?: number;
}

/** A context as the kernel makes it, and what the plugin reported through `fail`. */
export interface TestPluginContext extends PluginContext {
  readonly failures: unknown[];
}

/**
 * A context to create a plugin with outside of a kernel: a scope of its own, silence for a logger.
 * Close `context.scope` when done: it closes what the plugin opened, then removes the temporary directory.
 */
export async function pluginContext(options: PluginContextOptions = {}): Promise<TestPluginContext> {
  const scope = new Scope('conformance');
  const dataDir = options.dataDir ?? join(tmpdir(), `cloudos-conformance-${newId()}`);
  if (options.dataDir === undefined) {
    scope.defer('temporary data directory', () => rm(dataDir, { recursive: true, force: true }));
  }
  const failures: unknown[] = [];
  return {
    scope,
    logger: silentLogger,
    clock: options.clock ?? systemClock,
    newId,
    generation: options.generation ?? 1,
    dataDir,
    stateDir: options.stateDir ?? join(dataDir, 'state'),
    ...(options.node ? { node: options.node } : {}),
    failures,
    fail: (error) => {
      failures.push(error);
    },
  };
}
