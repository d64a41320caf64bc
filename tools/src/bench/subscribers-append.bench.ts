import type { Bench } from './bench.ts';
import { appendRows } from './subscribers/append.ts';

const bench: Bench = { prefix: 'subscribers.append', run: appendRows };
export default bench;
