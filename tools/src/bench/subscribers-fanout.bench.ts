import type { Bench } from './bench.ts';
import { fanOutRows } from './subscribers/fan-out.ts';

const bench: Bench = { prefix: 'subscribers.fanout', run: fanOutRows };
export default bench;
