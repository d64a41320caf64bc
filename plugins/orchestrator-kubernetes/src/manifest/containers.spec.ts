import { isRefusal } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { type Compiled, compile } from './compile.ts';
import { defaultPriorityClasses } from './pod.ts';

/** A pod with these containers. @throws Error with the refusal */
function read(containers: readonly object[]): Compiled {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { containers } };
  const compiled = compile(JSON.stringify(pod), 'test.yaml', defaultPriorityClasses);
  if (isRefusal(compiled)) throw new Error(`${compiled.refused.code}: ${compiled.refused.message}`);
  return compiled;
}

describe('the containers of a pod', () => {
  it('makes one guest of the containers of a pod: the first is its own, the others are beside it', () => {
    const limited = (cpu: string, memory: string) => ({ limits: { cpu, memory } });
    const { workloads, warnings } = read([
      { name: 'web', image: 'w', ports: [{ name: 'http', containerPort: 80 }], resources: limited('500m', '64Mi') },
      {
        name: 'cache',
        image: 'c',
        command: ['serve'],
        env: [{ name: 'A', value: 'x' }],
        ports: [{ name: 'cache', containerPort: 6379 }],
        resources: limited('250m', '32Mi'),
        readinessProbe: { tcpSocket: { port: 6379 } },
        securityContext: { readOnlyRootFilesystem: true, runAsUser: 7 },
      },
    ]);
    const template = workloads[0]?.template;
    expect(template).toMatchObject({
      image: 'w',
      container: 'web',
      limits: { cpuMillis: 750, memoryBytes: 96 * 2 ** 20 },
    });
    expect(template?.requests).toMatchObject({ cpuMillis: 750, memoryBytes: 96 * 2 ** 20 });
    expect(template?.ports.map(({ port }) => port)).toEqual([80, 6379]);
    expect(template?.containers).toEqual([
      {
        name: 'cache',
        image: 'c',
        command: ['serve'],
        env: [{ name: 'A', value: 'x' }],
        limits: { memoryBytes: 32 * 2 ** 20, pids: 0 },
        readOnlyRoot: true,
        user: 7,
        readiness: expect.objectContaining({ check: { kind: 'tcp', port: 6379 }, periodMs: 10_000 }),
      },
    ]);
    expect(warnings).toEqual([]);
  });

  it('limits a pod to nothing that one of its containers is not limited to', () => {
    const containers = [
      { name: 'a', image: 'i', resources: { limits: { memory: '64Mi' } } },
      { name: 'b', image: 'i' },
    ];
    const { workloads } = read(containers);
    expect(workloads[0]?.template.limits.memoryBytes).toBe(0);
    expect(workloads[0]?.template.requests.memoryBytes).toBe(64 * 2 ** 20);
  });

  it.each([
    ['abcdef'.split('').map((name) => ({ name, image: 'i' })), 'given 6 containers, expected 1 to 5'],
    [[], 'given 0 containers, expected 1 to 5'],
    [
      [
        { name: 'a', image: 'i' },
        { name: 'a', image: 'i' },
      ],
      'containers[1].name: a names two containers',
    ],
    [
      [
        { name: 'a', image: 'i', ports: [{ containerPort: 80 }] },
        { name: 'b', image: 'i', ports: [{ containerPort: 80 }] },
      ],
      'containers[1].ports: 80/tcp is taken by another container',
    ],
  ])('are refused where they cannot be one guest: %#', (containers, problem) => {
    expect(() => read(containers)).toThrow(problem);
  });
});
