import type { Bench } from './bench.ts';
import { latencyRows } from './subscribers/latency.ts';

const bench: Bench = { prefix: 'subscribers.latency', run: latencyRows };
export default bench;
