import { definePlugin } from '@cloudos/sdk';
import { Subject } from 'rxjs';
import { z } from 'zod';
import { SimulatedGuests } from './simulated-guests.driver.ts';
import { simulatedWorld } from './simulated-world.ts';

const rate = z.number().min(0).max(1).default(0);
const milliseconds = z.int().nonnegative().default(0);

/** Configuration of guest-simulated. With every delay at 0, nothing waits for a timer. */
export const simulatedGuestsConfig = z.strictObject({
  /** Which world of the process the guests live in. */
  world: z.string().min(1).default('default'),
  /** Name by which templates ask for the runtime. */
  runtime: z.string().min(1).default('simulated'),
  startDelayMs: milliseconds,
  stopDelayMs: milliseconds,
  /** From the start to the first probe that succeeds. */
  readyDelayMs: milliseconds,
  /** Guests on the node at once. */
  guestsMax: z.int().positive().default(1_000_000),
  createFailureRate: rate,
  startFailureRate: rate,
  /** How many runs end with exit code 1 after crashAfterMs. */
  crashRate: rate,
  crashAfterMs: milliseconds,
  /** Decides which of them, together with the names of the instances. */
  seed: z.int().nonnegative().default(1),
});
export type SimulatedGuestsConfig = z.infer<typeof simulatedGuestsConfig>;

/** Runs guests as in-process fakes. The reference implementation of the slot. */
export default definePlugin({
  name: 'guest-simulated',
  slot: 'guest',
  apiVersion: 1,
  description: 'Simulated guests in this process, by the thousand, on any clock',
  supports: {
    adopt: true,
    exec: true,
    tty: true,
    logs: true,
    stats: true,
    probe: true,
    pause: true,
    resize: true,
    snapshot: true,
    snapshotMemory: true,
    signals: true,
    memoryLimit: true,
    cpuLimit: true,
    pidsLimit: true,
    commandCheck: true,
    imageCheck: true,
    network: false,
  },
  config: simulatedGuestsConfig,
  async create({ scope, clock, node }, { world, ...options }) {
    if (!node) throw new TypeError('guest-simulated serves a node: the context names none');
    const detached = await scope.acquire(
      'simulated guests',
      () => new Subject<void>(),
      (subject) => {
        subject.next();
        subject.complete();
      },
    );
    return new SimulatedGuests(simulatedWorld(world), node.id, clock, options, detached);
  },
});
