import type { Bench, BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { filled, perNode, place, processorSeconds, type ResourcesBench, take } from './driving.ts';
import { endToEnd } from './end-to-end.ts';
import { FullScan } from './full-scan.ts';
import { memory } from './memory.ts';
import { nodesOf, type Request, requestsOf } from './mix.ts';
import { packing } from './packing.ts';
import { waiting } from './waiting.ts';

/** Nodes on which everything is tried before it is measured, so that the engine has compiled it. */
const warmNodes = 1_000;

/** The rows of one resource manager. Each manager has a file of its own, and so a process and an engine of its own. */
export function resourcesBench(about: ResourcesBench): Bench {
  return {
    prefix: `resources.${about.manager}`,
    async run(options) {
      options.progress(`${about.manager}: warming up`);
      place(await filled(about, warmNodes), take(requestsOf(1, true), warmNodes * perNode, about));
      scanRate(warmNodes, 1, true);
      const sizes = options.quick ? [200, 1_000] : [1_000, 10_000, 50_000];
      await placements(about, options, sizes);
      await running(about, options);
      await decisions(about, options);
      await waiting(about, options);
      await packing(about, options);
      await memory(about, options);
      await endToEnd(about, options);
    },
  };
}

/** Policy alone, by number of nodes, beside the full scan of as many nodes, just as full. */
async function placements(about: ResourcesBench, options: BenchOptions, sizes: readonly number[]): Promise<void> {
  const cost: number[] = [];
  for (const nodes of sizes) {
    const [rates, intakes, bounds]: [number[], number[], number[]] = [[], [], []];
    const rounds = nodes > 10_000 ? 1 : nodes < 10_000 ? 9 : 5;
    if (nodes === 10_000) {
      // the row that has a target: both have seen this size before, whatever the engine has compiled so far
      place(await filled(about, nodes), take(requestsOf(99, true), nodes * perNode, about));
      scanRate(nodes, 99, options.quick);
    }
    for (let round = 0; round < rounds; round++) {
      options.progress(`${about.manager}: ${nodes} nodes, round ${round + 1} of ${rounds}`);
      const requests = requestsOf(round + 1, true);
      const driven = await filled(about, nodes);
      const asked = take(requests, nodes * perNode, about);
      const { intake, deciding } = place(driven, asked);
      rates.push(asked.length / deciding);
      intakes.push(asked.length / intake);
      bounds.push(scanRate(nodes, round + 1, options.quick));
    }
    const [value, bound] = [median(rates), median(bounds)];
    cost.push(1 / value);
    const wanted = nodes === 10_000 ? about.timesFullScan : undefined;
    reportIntake(about, options, nodes, median(intakes));
    options.report({
      name: `resources.${about.manager}.placements.${nodes}`,
      value,
      unit: 'placements/s',
      bound,
      ratio: value / bound,
      target: wanted ? `>= ${wanted} x full scan, of processor time` : 'reported, beside the full scan',
      met: wanted && !options.quick ? value / bound >= wanted : null,
    });
  }
  const growth = cost.at(-1)! / cost[0]!;
  options.report({
    name: `resources.${about.manager}.placements.growth`,
    value: growth,
    unit: 'x',
    bound: 1,
    ratio: growth,
    target: `cost of a placement at ${sizes.at(-1)} nodes <= 2 x that at ${sizes[0]}`,
    met: options.quick ? null : growth <= 2,
  });
}

/** What comes before: the scan has nothing of the kind. */
function reportIntake({ manager }: ResourcesBench, options: BenchOptions, nodes: number, value: number): void {
  options.report({
    name: `resources.${manager}.intake.${nodes}`,
    value,
    unit: 'requests/s',
    bound: null,
    ratio: null,
    target: 'reported (records made from requests, before anything is decided)',
    met: null,
  });
}

/** The scan is as fast as its loop: a sample of placements on nodes that are half full says it. */
function scanRate(nodes: number, seed: number, quick: boolean): number {
  const scan = new FullScan(nodesOf(nodes).map(({ data }) => data));
  const requests = requestsOf(seed, true);
  for (let at = 0; at < (nodes * perNode) / 2; at++) {
    scan.take((at * 7_919) % nodes, requests.next().value as Request);
  }
  const sample = Array.from(
    { length: Math.min(nodes, quick ? 200 : Math.ceil(30_000_000 / nodes)) },
    () => requests.next().value as Request,
  );
  const startedAt = processorSeconds();
  for (const request of sample) scan.place(request);
  return sample.length / (processorSeconds() - startedAt);
}

/** How the cost grows with running instances: the same burst after more and more of them. */
async function running(about: ResourcesBench, options: BenchOptions): Promise<void> {
  const nodes = options.quick ? 500 : 10_000;
  const driven = await filled(about, nodes);
  const requests = requestsOf(11, true);
  const steps = [1, 4, 8, 12, 16];
  let before = 0;
  for (const step of steps) {
    options.progress(`${about.manager}: ${step * nodes} running instances on ${nodes} nodes`);
    place(driven, take(requests, Math.max(0, (step - before - 1) * nodes), about));
    const asked = take(requests, nodes, about);
    const value = asked.length / place(driven, asked).deciding;
    before = step;
    options.report({
      name: `resources.${about.manager}.placements.running.${step * nodes}`,
      value,
      unit: 'placements/s',
      bound: null,
      ratio: null,
      target: `reported (the last ${nodes} of so many, on ${nodes} nodes)`,
      met: null,
    });
  }
}

/** One request at a time on a cluster that is half full: from the request to the decision taken in. */
async function decisions(about: ResourcesBench, options: BenchOptions): Promise<void> {
  const nodes = options.quick ? 500 : 10_000;
  options.progress(`${about.manager}: single decisions on ${nodes} nodes`);
  const driven = await filled(about, nodes);
  const requests = requestsOf(21, true);
  place(driven, take(requests, nodes * 6, about));
  const times: number[] = [];
  for (const request of take(requests, options.quick ? 500 : 10_000, about)) {
    const startedAt = performance.now();
    driven.give(request);
    driven.settle();
    times.push(performance.now() - startedAt);
  }
  times.sort((one, other) => one - other);
  const bound = 1_000 / scanRate(nodes, 21, options.quick);
  const value = times[Math.floor(times.length * 0.99)]!;
  options.report({
    name: `resources.${about.manager}.decision-p99`,
    value,
    unit: 'ms',
    bound,
    ratio: value / bound,
    target: `reported (p50 ${times[times.length >> 1]!.toFixed(4)} ms; the bound is one full scan)`,
    met: null,
  });
}
