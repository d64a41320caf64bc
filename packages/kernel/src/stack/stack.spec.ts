import { describe, expect, it } from 'vitest';
import { parseStack, readStack } from './stack.ts';

const stack = `
apiVersion: cloudos/v1
kind: Stack
name: test
log: log-memory
resources: { plugin: resources-borg, config: { seed: 1 } }
orchestrator: orchestrator-kubernetes
nodes:
  - name: sim
    count: 3
    host: host-simulated
    guests: [guest-simulated]
`;
const parse = (text: string) => parseStack(text, 'dir/stack.yaml');

describe('a stack file', () => {
  it('names a plugin for each slot, alone or with configuration, and expands nodes', () => {
    const { nodes, resources, log, gateway } = parse(stack);
    expect(nodes.map(({ name, ordinal }) => [name, ordinal])).toEqual([
      ['sim-1', 0],
      ['sim-2', 1],
      ['sim-3', 2],
    ]);
    expect(log).toEqual({ plugin: 'log-memory', config: undefined });
    expect(resources).toEqual({ plugin: 'resources-borg', config: { seed: 1 } });
    expect(gateway).toEqual({ host: '127.0.0.1', port: 0, origins: [], limits: {} });
    expect(parse(`${stack}gateway: { slowSubscriberMs: 5000 }\n`).gateway).toMatchObject({
      slowSubscriberMs: 5_000,
    });
  });

  it('has a digest of what it says, not of how it is written', () => {
    expect(parse(`# a comment\n${stack}`).digest).toBe(parse(stack).digest);
    expect(parse(stack.replace('count: 3', 'count: 4')).digest).not.toBe(parse(stack).digest);
  });

  it.each([
    ['broken YAML, with line and column', 'name: [1', 'STACK_MALFORMED', /dir\/stack.yaml:\d+:\d+/],
    ['an unknown field', `${stack}colour: red\n`, 'STACK_MALFORMED', /colour/],
    [
      'a wrong type, with path and value',
      stack.replace('count: 3', 'count: many'),
      'STACK_MALFORMED',
      /nodes.0.count.*"many"/,
    ],
    [
      'two plugins in a list for a single slot',
      stack.replace('log: log-memory', 'log: [log-memory, log-lmdb]'),
      'SLOT_CONFLICT',
      /log-memory and log-lmdb/,
    ],
    [
      'a single slot given twice',
      `${stack}log: log-lmdb\n`,
      'SLOT_CONFLICT',
      /slot log holds one plugin, given log-memory and log-lmdb/,
    ],
    ['a field given twice', `${stack}name: again\n`, 'STACK_MALFORMED', /unique/],
    [
      'two nodes of one name',
      stack.replace('name: sim\n    count: 3', 'name: a\n    host: h\n    guests: [g]\n  - name: a'),
      'STACK_MALFORMED',
      /two nodes are named a/,
    ],
    ['a name that is none', stack.replace('name: sim', 'name: Sim_1'), 'STACK_MALFORMED', /nodes.0.name.*"Sim_1"/],
  ])('refuses %s', (_, text, code, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  it('that is not there is named', async () => {
    await expect(readStack('no/such/stack.yaml')).rejects.toMatchObject({
      code: 'STACK_NOT_FOUND',
      message: expect.stringContaining('no/such/stack.yaml'),
    });
  });
});
