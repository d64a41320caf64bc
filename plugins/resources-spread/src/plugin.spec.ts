import { resourcesConformance } from '@cloudos/conformance';
import { event } from '@cloudos/sdk';
import { instancePlaced, instanceRequested, nodeJoined, policySpec } from '@cloudos/testing';
import { test } from 'vitest';
import plugin from './plugin.ts';
import { spreadPolicy } from './spread.policy.ts';

resourcesConformance(plugin);

test("named reservations of another manager are nobody's", () => {
  const zero = { memoryBytes: 0, diskBytes: 0, pids: 0 };
  const spec = { reservation: 'web', owner: 'eng', resources: { cpuMillis: 4_000, ...zero }, count: 1 };
  policySpec(spreadPolicy({ decisionsMax: 16 }))
    .given(nodeJoined('n1', { cpuMillis: 4_000 }), event('ReservationRequested', spec))
    .given(event('ResourcesReserved', { ...spec, index: 0, node: 'n1' }))
    .when(instanceRequested('a', { cpuMillis: 4_000, reservation: 'web' }))
    .then(instancePlaced('a', 'n1'));
});
