import { event, type NewEvent, type RecordedEvent, type SharedEvent } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { TaskBook } from './task-book.ts';
import { taskKind } from './task-spec.ts';

const workload = 'fw-1/t1';
const vector = { cpuMillis: 100, memoryBytes: 0, diskBytes: 0, pids: 0 };
const joined = event('NodeJoined', { node: 'n1', capacity: vector, attributes: {}, runtimes: [] });
const lost = event('NodeLost', { node: 'n1', reason: '' });
const left = event('NodeLeft', { node: 'n1', reason: '' });
const running: NewEvent[] = [
  {
    type: 'WorkloadDeclared',
    data: {
      workload,
      kind: taskKind,
      revision: 1,
      replicas: 1,
      manifest: { framework: 'fw-1', task: 't1', agent: 'n1' },
    },
  },
  event('InstanceRequested', { instance: 'i', workload, revision: 1, requests: vector, priority: 100 }),
  event('InstancePlaced', { instance: 'i', node: 'n1' }),
  event('GuestStarted', { instance: 'i', node: 'n1', runtime: 'zones', attempt: 1 }),
];

/** What is told of the task, one after another. */
function told(aware: boolean, ...events: readonly NewEvent[]): string[] {
  const book = new TaskBook(() => aware);
  return [...running, ...events].flatMap((each, position) =>
    book
      .take({ ...each, position, time: position } as unknown as RecordedEvent as SharedEvent)
      .map(({ latest }) => latest.state),
  );
}

describe('a task whose agent does not answer', () => {
  it.each<[string, boolean, NewEvent[], string[]]>([
    ['is unreachable to who is aware of partitions', true, [lost], ['TASK_UNREACHABLE']],
    ['is gone when the agent comes back without it', true, [lost, joined], ['TASK_UNREACHABLE', 'TASK_GONE']],
    ['is gone when the agent is taken out after all', true, [lost, left], ['TASK_UNREACHABLE', 'TASK_GONE']],
    ['is gone when the agent is taken out', true, [left], ['TASK_GONE']],
    ['is lost to others', false, [lost], ['TASK_LOST']],
    ['is lost to others once', false, [lost, joined, left], ['TASK_LOST']],
    ['says nothing when another agent is lost', true, [event('NodeLost', { node: 'n2', reason: '' })], []],
  ])('%s', (_, aware, events, states) => {
    expect(told(aware, ...events)).toEqual(['TASK_RUNNING', ...states]);
  });
});
