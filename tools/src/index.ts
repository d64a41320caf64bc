export type { Bench, BenchOptions, BenchRow } from './bench/bench.ts';
export { errorsPage } from './docs/errors-page.ts';
export { eventsPage } from './docs/events-page.ts';
export { writeDocs } from './docs/write-docs.ts';
export { type GeneratedSlot, generatedSlots, generatePlugin } from './generator/plugin.generator.ts';
export { makeTestImages } from './images/make-test-images.ts';
