import type { Bench } from './bench.ts';
import { idleRows } from './subscribers/idle.ts';

const bench: Bench = { prefix: 'subscribers.idle', run: idleRows };
export default bench;
