import type { Bench } from './bench.ts';
import { trustRows } from './subscribers/trust.ts';

const bench: Bench = { prefix: 'subscribers.trust', run: trustRows };
export default bench;
