import logLmdb from '@cloudos/log-lmdb';
import { type LogProvider, newId, Scope, silentLogger, systemClock } from '@cloudos/sdk';

/** The durable log by itself, without a kernel. */
export async function openBareLog(dataDir: string): Promise<{ log: LogProvider; close: () => Promise<void> }> {
  const scope = new Scope('bare log');
  const basics = { scope, clock: systemClock, newId, logger: silentLogger, generation: 1, fail: () => {} };
  const context = { ...basics, dataDir, stateDir: dataDir };
  const log = await logLmdb.create(context, logLmdb.config.parse({}));
  return { log, close: () => scope.close() };
}
