export { type FiredFault, firedFaultsMax, SeededFaults } from './faults.ts';
export { SeededRandom, seededIds } from './seeded-random.ts';
export { timersPerRunMax, VirtualClock, type VirtualClockOptions } from './virtual-clock.ts';
