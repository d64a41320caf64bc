import { type EventData, event, type NewEvent, type SharedEvent, type SharedEventType } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { loadCluster, saveCluster } from './cluster-snapshot.ts';
import { type ClusterState, emptyCluster, evolveCluster } from './cluster-state.ts';
import { viewOf } from './cluster-view.ts';

const requests = { cpuMillis: 100, memoryBytes: 2 ** 20, diskBytes: 0, pids: 5 };
const none = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
const node = 'n1';
const about = { instance: 'a', node };

function declared(readiness: boolean, replicas = 1): NewEvent<'WorkloadDeclared', EventData<'WorkloadDeclared'>> {
  const probe = { initialDelayMs: 0, periodMs: 1_000, timeoutMs: 1_000, successThreshold: 1, failureThreshold: 3 };
  return event('WorkloadDeclared', {
    workload: 'default/web',
    kind: 'Deployment',
    revision: 1,
    replicas,
    strategy: { kind: 'recreate' },
    priority: 100,
    constraints: [],
    minReadyMs: 0,
    progressDeadlineMs: 1_000,
    labels: {},
    template: {
      image: 'host:',
      env: [],
      ports: [],
      requests,
      limits: none,
      restart: 'always',
      stopGraceMs: 1_000,
      readOnlyRoot: false,
      labels: {},
      ...(readiness && { readiness: { ...probe, check: { kind: 'tcp' as const, port: 80 } } }),
    },
  });
}
const joined = event('NodeJoined', { node, capacity: { ...requests, cpuMillis: 1_000 }, attributes: {}, runtimes: [] });
const requested = event('InstanceRequested', {
  instance: 'a',
  workload: 'default/web',
  revision: 1,
  requests,
  priority: 100,
});
const placed = event('InstancePlaced', about);
const created = event('GuestCreated', { ...about, runtime: 'zones', handle: 'h' });
const started = event('GuestStarted', { ...about, runtime: 'zones', attempt: 1, pid: 42 });
const healthy = event('GuestHealthy', { ...about, attempt: 1, probe: 'readiness' });
const withdrawn = event('InstanceWithdrawn', { instance: 'a', reason: 'scaled down', drainMs: 0, graceMs: 10 });

function after(...events: NewEvent<SharedEventType, unknown>[]): ClusterState {
  const state = emptyCluster();
  const meta = { producer: { plugin: 'test', generation: 1 }, schema: 1 };
  events.forEach((each, position) => {
    evolveCluster(state, {
      ...each,
      position,
      revision: position,
      stream: 's',
      id: String(position),
      time: 1_000 + position,
      meta,
    } as SharedEvent);
  });
  return state;
}
const stateOf = (...events: NewEvent<SharedEventType, unknown>[]) => viewOf(after(...events)).instances[0]?.state;

describe('the cluster state', () => {
  it('follows an instance from the request to the end', () => {
    const before = [joined, declared(true)];
    expect(stateOf(...before, requested)).toBe('pending');
    expect(stateOf(...before, requested, placed)).toBe('placed');
    expect(stateOf(...before, requested, placed, created)).toBe('created');
    expect(stateOf(...before, requested, placed, created, started)).toBe('running');
    expect(stateOf(...before, requested, placed, created, started, healthy)).toBe('ready');
    expect(stateOf(...before, requested, placed, created, started, healthy, withdrawn)).toBe('stopping');
    expect(stateOf(...before, requested, placed, withdrawn, event('GuestRemoved', about))).toBeUndefined();
    expect(stateOf(...before, requested, withdrawn)).toBeUndefined();
  });

  it('takes an instance without readiness probe as ready when it has started', () => {
    expect(stateOf(joined, declared(false), requested, placed, created, started)).toBe('ready');
  });

  it('accounts what is placed on a node until it is removed', () => {
    const used = (...events: NewEvent<SharedEventType, unknown>[]) =>
      viewOf(after(joined, declared(false), ...events)).nodes[0]?.used;
    expect(used(requested, placed)).toEqual(requests);
    expect(used(requested, placed, withdrawn)).toEqual(requests);
    expect(used(requested, placed, withdrawn, event('GuestRemoved', about))).toEqual(none);
  });

  it('does not believe a node about an instance that is placed elsewhere', () => {
    const elsewhere = event('GuestStarted', { ...about, node: 'n2', runtime: 'zones', attempt: 1 });
    expect(stateOf(joined, declared(false), requested, placed, elsewhere)).toBe('placed');
  });

  it('marks what was on a lost node', () => {
    const lost = event('NodeLost', { node, reason: 'unreachable' });
    const view = viewOf(after(joined, declared(false), requested, placed, created, started, lost));
    expect(view.nodes[0]?.state).toBe('lost');
    expect(view.instances[0]).toMatchObject({ state: 'stopping', reason: 'node lost: unreachable' });
  });

  it('is the same after a snapshot', () => {
    const events = [joined, declared(true), requested, placed, created, started];
    const restored = loadCluster(structuredClone(saveCluster(after(...events))));
    expect(viewOf(restored)).toEqual(viewOf(after(...events)));
    const meta = { producer: { plugin: 'test', generation: 1 }, schema: 1 };
    evolveCluster(restored, {
      ...healthy,
      position: 6,
      revision: 6,
      stream: 's',
      id: '6',
      time: 1_006,
      meta,
    } as SharedEvent);
    expect(viewOf(restored)).toEqual(viewOf(after(...events, healthy)));
  });
});
