import type { Bench } from './bench.ts';
import { catchUpRows } from './subscribers/catch-up.ts';

const bench: Bench = { prefix: 'subscribers.catchup', run: catchUpRows };
export default bench;
