import {
  guestRemoved,
  instancePlaced,
  instanceRequested,
  instanceUnplaceable,
  instanceWithdrawn,
  nodeCordoned,
  nodeJoined,
  policySpec,
  resources,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { type FrameworkEvents, frameworkEvent, type OfferData, privatePrefix } from './framework-events.ts';
import { mesosPolicy } from './mesos.policy.ts';

const spec = (config = {}) => policySpec(mesosPolicy({ allocationIntervalMs: 1_000, ...config }));
type Spec = ReturnType<typeof spec>;
const command = (name: string, request: object) => ({ type: `${privatePrefix}${name}` as const, request });
const subscribe = (framework: string, roles = ['*'], some = {}) =>
  command('Subscribe', {
    framework,
    known: false,
    name: 'test',
    user: 'root',
    roles,
    failoverTimeoutMs: 60_000,
    ...some,
  });
const event = <Name extends keyof FrameworkEvents>(name: Name, data: Partial<FrameworkEvents[Name]>) => ({
  type: `${privatePrefix}${name}`,
  data: (given: object) => {
    expect(given).toMatchObject(data);
    return true;
  },
});
const asked = (name: string, owner: string, cpuMillis: number, some = {}) =>
  instanceRequested(name, { owner, cpuMillis, workload: `${owner}/w`, ...some });
const task = (name: string, cpuMillis: number, some = {}) =>
  asked(name, '*', cpuMillis, { user: 'fw-1', workload: `fw-1/${name}`, node: 'n1', ...some });
const launch = (name: string, cpuMillis: number, ports: number[] = []) => ({
  workload: `fw-1/${name}`,
  resources: resources({ cpuMillis }),
  ports,
});

/** The offers that were made since the last `when` began. */
const offers = (run: Spec): OfferData[] =>
  run.decided
    .filter(({ type }) => type === `${privatePrefix}OffersMade`)
    .flatMap(({ data }) => (data as FrameworkEvents['OffersMade']).offers);
const accept = (ids: string[], operations: object[], framework = 'fw-1') =>
  command('Accept', { framework, offers: ids, operations, refuseMs: 5_000 });

describe('offers to frameworks outside of the stack', () => {
  it('are all that is free of an agent, to the one with the smallest share', () => {
    const run = spec().given(nodeJoined('n1', { cpuMillis: 4_000 }), nodeJoined('n2', { cpuMillis: 4_000 }));
    run.given(asked('a', 'ops', 1_000), instancePlaced('a', 'n1'));
    run.when(subscribe('fw-1'), subscribe('fw-2', ['ads']));
    // the first was alone when it came; the second gets what comes later
    expect(offers(run)).toMatchObject([
      { framework: 'fw-1', role: '*', node: 'n1', resources: { cpuMillis: 3_000 } },
      { framework: 'fw-1', node: 'n2', resources: { cpuMillis: 4_000 }, ports: [{ begin: 31_000, end: 32_000 }] },
    ]);
    run.when({ at: 1_000 }, nodeJoined('n3'));
    expect(offers(run)).toMatchObject([{ framework: 'fw-2', role: 'ads', node: 'n3' }]);
    run.verifyReplay();
  });

  it('are shared among those who wait at the same time', () => {
    const run = spec().when(subscribe('fw-1'), subscribe('fw-2', ['ads']), subscribe('fw-3', ['ads']));
    run.when([1, 2, 3, 4].map((n) => nodeJoined(`n${n}`)));
    expect(offers(run).map(({ framework }) => framework)).toEqual(['fw-1', 'fw-2', 'fw-1', 'fw-3']);
  });

  it('that are declined are not made again for a while, unless there is more', () => {
    const run = spec()
      .given(nodeJoined('n1', { cpuMillis: 4_000 }))
      .given(asked('a', 'x', 1_000), instancePlaced('a', 'n1'));
    run.when(subscribe('fw-1'));
    const decline = (id: string) => command('Decline', { framework: 'fw-1', offers: [id], refuseMs: 5_000 });
    run.when({ at: 100 }, decline(offers(run)[0]!.offer), { at: 5_000 });
    expect(offers(run)).toEqual([]);
    run.when({ at: 5_100 });
    const [again] = offers(run);
    run.when(decline(again!.offer), instanceWithdrawn('a'), guestRemoved('a', 'n1'), { at: 6_100 });
    expect(offers(run)).toMatchObject([{ resources: { cpuMillis: 4_000 } }]);
    run.verifyReplay();
  });

  it('begin anew after revive, and cease after suppress', () => {
    const run = spec().given(nodeJoined('n1')).when(subscribe('fw-1'));
    const [first] = offers(run);
    run.when(command('Decline', { framework: 'fw-1', offers: [first!.offer], refuseMs: 3_600_000 }), { at: 2_000 });
    expect(offers(run)).toEqual([]);
    run.when(command('Revive', { framework: 'fw-1' }));
    const [second] = offers(run);
    run.when(command('Suppress', { framework: 'fw-1' }));
    run.when(command('Decline', { framework: 'fw-1', offers: [second!.offer], refuseMs: 0 }), { at: 9_000 });
    expect(offers(run)).toEqual([]);
    run.thenWakeAt(undefined).verifyReplay();
  });

  it('are rescinded when the agent is cordoned, when nobody answers, and when the framework goes', () => {
    const run = spec({ offerTimeoutMs: 10_000 }).given(nodeJoined('n1')).when(subscribe('fw-1'));
    const [first] = offers(run);
    run.when(nodeCordoned('n1'));
    run.thenIncludes(event('OffersRescinded', { offers: [first!.offer], reason: 'the agent takes nothing new' }));
    run.when({ at: 2_000 }, nodeJoined('n2'));
    const [second] = offers(run);
    run.when({ at: 12_000 });
    run.thenIncludes(event('OffersRescinded', { offers: [second!.offer], reason: 'it was not answered in time' }));
    run.when({ at: 13_100 }, command('Disconnect', { framework: 'fw-1' }));
    run.thenIncludes(event('OffersRescinded', { reason: 'the framework is not connected' }));
    run.when({ at: 73_100 }).thenIncludes(event('FrameworkRemoved', { framework: 'fw-1' }));
    run.when(subscribe('fw-1', ['*'], { known: true })).thenRefused('COMMAND_REFUSED', 'Framework has been removed');
    run.verifyReplay();
  });

  it('stand back for an instance of a role with a smaller share', () => {
    const run = spec().given(nodeJoined('n1', { cpuMillis: 4_000 }));
    run.given(asked('t', '*', 1_000), instancePlaced('t', 'n1'));
    run.when(subscribe('fw-1'));
    const [first] = offers(run);
    run.when(asked('a', 'ops', 1_000));
    run.then(event('OffersRescinded', { offers: [first!.offer] }), instanceUnplaceable('a'), instancePlaced('a', 'n1'));
    run.verifyReplay();
  });

  it('hold what they offer: nobody else gets it while the answer is out', () => {
    const run = spec().given(nodeJoined('n1', { cpuMillis: 4_000 }));
    run.given(asked('a', 'ops', 3_000), instancePlaced('a', 'n1')).when(subscribe('fw-1'));
    const [first] = offers(run);
    run
      .when(asked('b', 'ops', 500))
      .then(instanceUnplaceable('b', { reasons: [{ constraint: 'offer', nodes: 1 }] as never }));
    run.when(command('Decline', { framework: 'fw-1', offers: [first!.offer], refuseMs: 5_000 }));
    run.thenIncludes(instancePlaced('b', 'n1'));
  });
});

describe('accepting an offer', () => {
  const offered = (config = {}) => {
    const run = spec(config)
      .given(nodeJoined('n1', { cpuMillis: 4_000 }))
      .when(subscribe('fw-1'));
    return { run, offer: offers(run)[0]!.offer };
  };

  it('launches tasks: their instances are placed where the offer was, the rest is free again', () => {
    const { run, offer } = offered();
    run.when(accept([offer], [{ type: 'LAUNCH', tasks: [launch('t1', 1_000), launch('t2', 2_000)] }]));
    run.thenIncludes(
      event('OffersAccepted', {
        offers: [offer],
        launches: [{ workload: 'fw-1/t1' }, { workload: 'fw-1/t2' }] as never,
      }),
    );
    run.when(asked('x', 'ops', 2_000)).then(instanceUnplaceable('x')); // held for the launches
    run.when(task('t1', 1_000), task('t2', 2_000)).thenIncludes(instancePlaced('t1', 'n1'), instancePlaced('t2', 'n1'));
    run.when(asked('y', 'ops', 1_000)).thenIncludes(instancePlaced('y', 'n1'));
    run.verifyReplay();
  });

  it('leaves out a task that asks for more than is left, and all of a group', () => {
    const { run, offer } = offered();
    const operations = [
      { type: 'LAUNCH', tasks: [launch('t1', 3_000), launch('t2', 2_000)] },
      { type: 'LAUNCH_GROUP', tasks: [launch('g1', 500), launch('g2', 501)] },
      { type: 'LAUNCH', tasks: [launch('t3', 500, [31_001]), launch('t4', 100, [31_001]), launch('t5', 100, [80])] },
    ];
    run.when(accept([offer], operations));
    const [accepted] = run.decided.filter(({ type }) => type.endsWith('OffersAccepted'));
    const { launches } = accepted!.data as FrameworkEvents['OffersAccepted'];
    expect(launches.map(({ workload }) => workload)).toEqual(['fw-1/t1', 'fw-1/t3']);
  });

  it("is refused when an offer is not valid any more, or another's", () => {
    const { run, offer } = offered();
    run.when(subscribe('fw-2'), accept([offer], [], 'fw-2')).thenRefused('COMMAND_REFUSED', /not valid any more/);
    run.when(accept([offer], []), accept([offer], [])).thenRefused('COMMAND_REFUSED', /not valid any more/);
  });

  it('gives a launch up that does not become an instance', () => {
    const { run, offer } = offered({ launchTimeoutMs: 5_000 });
    run.when(accept([offer], [{ type: 'LAUNCH', tasks: [launch('t1', 4_000)] }]), { at: 5_000 });
    run.thenIncludes(event('LaunchesReleased', { workloads: ['fw-1/t1'] }));
    run.when(task('t1', 4_000));
    run.then(instanceUnplaceable('t1', { reasons: [{ constraint: 'offer' }] as never }));
    run.verifyReplay();
  });

  it('sets resources aside, refines and gives them up', () => {
    const { run, offer } = offered();
    const amounts = resources({ cpuMillis: 1_000 });
    run.when(accept([offer], [{ type: 'RESERVE', owner: '*', resources: amounts, labels: { disk: 'a' } }]), {
      at: 6_000,
    });
    const [second] = offers(run);
    expect(second).toMatchObject({
      resources: { cpuMillis: 4_000 },
      reserved: [{ owner: '*', labels: { disk: 'a' } }],
    });
    const tooMuch = {
      type: 'UNRESERVE',
      owner: '*',
      resources: resources({ cpuMillis: 1_001 }),
      labels: { disk: 'a' },
    };
    run.when(accept([second!.offer], [tooMuch])).thenRefused('COMMAND_REFUSED', /less than that set aside/);
    run.when(accept([second!.offer], [{ ...tooMuch, resources: amounts }]), { at: 12_000 });
    expect(offers(run)[0]?.reserved).toBeUndefined();
    run.verifyReplay();
  });

  it('a task that was launched counts for the framework and its role', () => {
    const { run, offer } = offered();
    run.when(accept([offer], [{ type: 'LAUNCH', tasks: [launch('t1', 1_000)] }]), task('t1', 1_000));
    const { shares } = run.state;
    expect(shares.client('*', 'fw-1').allocated.plain[0]).toBe(1_000);
    run.when(guestRemoved('t1', 'n1'));
    expect(run.state.shares.role('*').allocated.plain[0]).toBe(offers(run).length > 0 ? 4_000 : 0);
  });
});

describe('an agent that will be taken down', () => {
  it('is asked for by an inverse offer, which is rescinded when it stays', () => {
    const run = spec()
      .given(nodeJoined('n1', { cpuMillis: 4_000 }))
      .when(subscribe('fw-1'));
    const { offer } = offers(run)[0]!;
    run.when(accept([offer], [{ type: 'LAUNCH', tasks: [launch('t1', 1_000)] }]), task('t1', 1_000));
    run.when({ type: 'ScheduleMaintenance', node: 'n1', from: 900_000, durationMs: 60_000, reason: 'disk' });
    const [made] = run.decided.filter(({ type }) => type.endsWith('InverseOffersMade'));
    const { offers: inverse } = made!.data as FrameworkEvents['InverseOffersMade'];
    expect(inverse).toMatchObject([{ framework: 'fw-1', node: 'n1', unavailability: { from: 900_000 } }]);
    run.when({ type: 'CancelMaintenance', node: 'n1' });
    run.thenIncludes(event('InverseOffersRescinded', { offers: [inverse[0]!.offer] }));
    run.verifyReplay();
  });
});

describe('private events of frameworks', () => {
  it('are hints: a log without the framework of an offer is no trouble', () => {
    const data = {
      offers: [{ offer: 'o', framework: 'fw-9', role: '*', node: 'n1', resources: resources(), ports: [] }],
    };
    spec()
      .given(nodeJoined('n1'), frameworkEvent('OffersMade', data))
      .when(asked('a', 'a', 100))
      .then(instancePlaced('a', 'n1'));
  });
});
