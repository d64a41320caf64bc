import { MemoryEventLog } from '@cloudos/event-log';
import { definePlugin } from '@cloudos/sdk';
import { z } from 'zod';

/** An event log in memory: for tests and simulation. Repeats itself exactly under the same clock and ids. */
export default definePlugin({
  name: 'log-memory',
  slot: 'log',
  apiVersion: 1,
  description: 'Event log in memory, for tests and simulation',
  supports: { durable: false, trim: true },
  config: z.object({
    /** Freezes every event, so that whoever changes one throws. */
    freeze: z.boolean().default(false),
  }),
  create: ({ scope, clock, newId }, { freeze }) =>
    scope.acquire(
      'event log in memory',
      () => new MemoryEventLog({ clock, newId, freeze }),
      (log) => log.close(),
    ),
});
