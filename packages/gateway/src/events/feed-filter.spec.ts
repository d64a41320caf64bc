import type { EventFilter } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { describe, expect, it } from 'vitest';
import { type FakeEvent, FakeLog } from '../testing/fake-log.ts';
import { compileFilters } from './feed-filter.ts';

const requested = (instance: string, workload: string) => ({
  stream: 'orchestrator',
  type: 'InstanceRequested',
  data: { instance, workload },
  meta: { correlation: workload },
});
const started = (instance: string, node: string) => ({
  stream: `node-${node}`,
  type: 'GuestStarted',
  data: { instance, node },
});

function logOf(...events: readonly FakeEvent[]): { log: FakeLog; asKernelLog: Kernel['log'] } {
  const log = new FakeLog();
  log.record(...events);
  return { log, asKernelLog: log as unknown as Kernel['log'] };
}

describe('what of a filter the log can evaluate', () => {
  const events = [
    requested('web-1', 'default/web'),
    requested('db-1', 'default/db'),
    started('web-1', 'n1'),
    started('db-1', 'n2'),
  ];
  const compiled = async (filter: EventFilter) => compileFilters([filter], logOf(...events).asKernelLog);

  it('is all of types, streams, a node, a layer and a causal chain', async () => {
    expect(await compiled({ types: ['Guest*'], node: 'n1' })).toMatchObject({
      logFilter: { types: ['Guest*'], keys: ['stream:node-n1', 'node:n1'] },
      logFilterTo: Number.POSITIVE_INFINITY,
      isOfLog: true,
    });
    const { logFilter, isOfLog } = await compiled({ layer: 'node' });
    expect({ isOfLog, types: logFilter?.types }).toMatchObject({
      isOfLog: true,
      types: expect.arrayContaining(['GuestStarted']),
    });
    expect(await compiled({ cause: 'c1' })).toMatchObject({ logFilter: { keys: ['correlation:c1'] }, isOfLog: true });
    expect(await compiled({ cause: 1 })).toMatchObject({
      logFilter: { keys: ['position:1', 'causation:1', 'correlation:default/db'] },
      isOfLog: true,
    });
    expect(await compiled({})).toMatchObject({ logFilter: undefined, matches: undefined, isOfLog: true });
  });

  it('is the keys of one condition where several have some', async () => {
    expect(await compiled({ node: 'n1', cause: 'c1' })).toMatchObject({
      logFilter: { keys: ['correlation:c1'] },
      isOfLog: false,
    });
    expect(await compiled({ types: ['GuestStarted'], layer: 'node' })).toMatchObject({
      logFilter: { types: ['GuestStarted'] },
      isOfLog: false,
    });
  });

  it('holds of a workload for the instances that were requested so far, and for no later position', async () => {
    const { log, asKernelLog } = logOf(...events);
    const filter = await compileFilters([{ workload: 'web', types: ['*'] }], asKernelLog);
    expect(filter).toMatchObject({
      logFilter: { keys: ['workload:default/web', 'instance:web-1'] },
      logFilterTo: 3,
      liveFilter: undefined,
      isOfLog: false,
    });
    log.record(requested('web-2', 'default/web'), started('web-2', 'n1'), started('db-1', 'n1'));
    expect(log.events.filter((event) => filter.matches?.(event)).map(({ position }) => position)).toEqual([0, 2, 4, 5]);
  });
});
