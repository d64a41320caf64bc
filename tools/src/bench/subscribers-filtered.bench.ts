import type { Bench } from './bench.ts';
import { filteredRows } from './subscribers/filtered.ts';

const bench: Bench = { prefix: 'subscribers.filtered', run: filteredRows };
export default bench;
