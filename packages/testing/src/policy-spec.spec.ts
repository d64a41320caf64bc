import { type Decision, event, nothing, type Policy, type Refusal, refuse, type SharedEvent } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { guestExited, guestStarted, instancePlaced, instanceRequested, nodeJoined } from './events.ts';
import { at, policySpec, refused } from './policy-spec.ts';

interface Tally {
  nodes: string[];
  pending: string[];
  exitedAt: Record<string, number>;
}

type Order = { type: 'Place'; instance: string };

/** Places each request on the first node, and restarts what exited 100 ms later. */
const firstNode: Policy<Tally, Order> = {
  initial: () => ({ nodes: [], pending: [], exitedAt: {} }),
  evolve(state, of) {
    if (of.type === 'NodeJoined') state.nodes.push(of.data.node);
    if (of.type === 'InstanceRequested') state.pending.push(of.data.instance);
    if (of.type === 'InstancePlaced') state.pending = state.pending.filter((name) => name !== of.data.instance);
    if (of.type === 'GuestExited') state.exitedAt[of.data.instance] = of.time;
    if (of.type === 'InstanceRestartOrdered') delete state.exitedAt[of.data.instance];
    return state;
  },
  react(state, _events, now): Decision {
    const due = Object.entries(state.exitedAt).filter(([, time]) => time + 100 <= now);
    const wakes = Object.values(state.exitedAt).map((time) => time + 100);
    const node = state.nodes[0];
    return {
      events: [
        ...(node ? state.pending.map((instance) => event('InstancePlaced', { instance, node })) : []),
        ...due.map(([instance]) => event('InstanceRestartOrdered', { instance, attempt: 2, reason: 'exited' })),
      ],
      ...(wakes.length > 0 && { wakeAt: Math.min(...wakes) }),
    };
  },
  decide(state, order): Decision | Refusal {
    const node = state.nodes[0];
    if (!node) return refuse('NODE_NOT_FOUND', 'no node has joined');
    return { events: [event('InstancePlaced', { instance: order.instance, node })], warnings: ['by hand'] };
  },
  snapshot: {
    version: 1,
    save: (state) => structuredClone(state),
    load: (saved) => structuredClone(saved) as Tally,
  },
};

function broken(changes: Partial<Policy<Tally, Order>>): Policy<Tally, Order> {
  return { ...firstNode, ...changes };
}

describe('policySpec', () => {
  it('evolves what was given, reacts to what happens, and compares the decisions', () => {
    policySpec(firstNode)
      .given(nodeJoined('n1'), instanceRequested('a'), instancePlaced('a', 'n1'))
      .when(instanceRequested('b'))
      .then(instancePlaced('b', 'n1'))
      .when(guestStarted('b'))
      .thenNothing()
      .verifyReplay();
  });

  it('compares only what the expectation says, takes predicates and patterns, and refuses a longer list', () => {
    const spec = policySpec(firstNode).given(nodeJoined('n1')).when(instanceRequested('a'), instanceRequested('b'));
    spec.thenIncludes(instancePlaced('b', 'n1'));
    spec.then({ type: 'InstancePlaced', data: { instance: /^a$/ } }, { type: 'InstancePlaced', data: () => true });
    expect(() => spec.then(instancePlaced('a', 'n1'))).toThrow(/\+ InstancePlaced .*'b'/);
    expect(() => spec.then(instancePlaced('a', 'n2'), instancePlaced('b', 'n1'))).toThrow(/- InstancePlaced .*'n2'/);
    expect(() => spec.thenNothing()).toThrow(/decisions differ/);
    expect(() => spec.thenIncludes(instancePlaced('c', 'n1'))).toThrow(/not decided/);
  });

  it('answers commands, refusals included', () => {
    policySpec(firstNode)
      .when({ type: 'Place', instance: 'x' })
      .then(refused('NODE_NOT_FOUND', /no node/))
      .when(nodeJoined('n1'), { type: 'Place', instance: 'x' })
      .then(instancePlaced('x', 'n1'))
      .thenWarned('by hand');
    const taken = policySpec(firstNode).when({ type: 'Place', instance: 'x' });
    expect(() => taken.thenRefused('INSTANCE_NOT_FOUND')).toThrow(/NODE_NOT_FOUND/);
    expect(() => taken.thenNothing()).toThrow(/was refused/);
  });

  it('lets virtual time pass and wakes the policy when it asked for it', () => {
    const spec = policySpec(firstNode).given(nodeJoined('n1'));
    spec.when(guestExited('a')).thenNothing().thenWakeAt(100);
    spec.when(at(99)).thenNothing();
    spec.when(at(500)).then({ type: 'InstanceRestartOrdered', data: { instance: 'a' } });
    expect(spec.decided[0]?.time).toBe(100);
    expect(spec.now).toBe(500);
    expect(() => spec.when(at(1))).toThrow(/cannot go back/);
  });

  it('fails on a decision that the vocabulary does not allow', () => {
    const wrong = broken({ decide: () => ({ events: [{ type: 'InstancePlaced', data: { instance: 'a' } }] }) });
    expect(() => policySpec(wrong).when({ type: 'Place', instance: 'a' })).toThrow(/InstancePlaced: node/);
  });

  it('fails on a policy that never settles', () => {
    const endless = broken({ react: (_state, _events, now) => ({ events: [], wakeAt: now }) });
    expect(() => policySpec(endless).when(nodeJoined('n1'))).toThrow(/still decides/);
  });

  it('finds a policy that is not pure', () => {
    let calls = 0;
    const counting = broken({
      decide: () => ({ events: [event('InstancePlaced', { instance: `i${calls++}`, node: 'n1' })] }),
    });
    const impure = policySpec(counting).when({ type: 'Place', instance: 'a' });
    expect(() => impure.verifyReplay()).toThrow(/same inputs gave another log/);

    const fromBatch = broken({
      react: (state, events) =>
        events.some((of: SharedEvent) => of.type === 'NodeJoined') || state.nodes.length === 0
          ? nothing
          : { events: [event('NodeCordoned', { node: 'n1', reason: '' })] },
    });
    expect(() => policySpec(fromBatch).when(nodeJoined('n1')).verifyReplay()).toThrow(/decides again/);

    const changing = broken({
      react(state) {
        state.nodes.push('made up');
        return nothing;
      },
    });
    expect(() => policySpec(changing).when(nodeJoined('n1')).verifyReplay()).toThrow(/react changed the state/);
  });

  it('finds a snapshot that loses something or stays attached', () => {
    const given = [nodeJoined('n1'), instanceRequested('a')];
    const forgetful = broken({
      snapshot: { version: 1, save: (state) => structuredClone({ ...state }), load: () => firstNode.initial() },
    });
    expect(() => policySpec(forgetful).when(given).verifyReplay()).toThrow(/leads to another state/);
    const attached = broken({
      snapshot: { version: 1, save: (state) => state, load: (saved) => structuredClone(saved) as Tally },
    });
    expect(() => policySpec(attached).when(given).verifyReplay()).toThrow(/changed a saved snapshot/);
  });

  it('freezes events, so that a policy cannot change what happened', () => {
    const meddling = broken({
      evolve(state, of) {
        (of.data as { node: string }).node = 'other';
        return state;
      },
    });
    expect(() => policySpec(meddling).when(nodeJoined('n1'))).toThrow(TypeError);
  });
});
