import type { LogLine } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { z } from 'zod';
import { logsQuery } from '../queries.ts';
import { logsResponse, ndjson } from '../streams.ts';
import { type Route, route } from './route.ts';
import { describes, errorBody } from './shapes.ts';
import { guestStats } from './views.schema.ts';

const logLine = describes<LogLine>()(
  z.union([
    z.object({ stream: z.enum(['stdout', 'stderr']), data: z.string().meta({ description: 'base64' }) }),
    z.object({ error: errorBody }),
  ]),
);

/** What guests use and say. */
export function guestRoutes(kernel: Kernel): Route[] {
  const params = { id: 'Name of the instance.' };
  return [
    route({
      id: 'getStats',
      method: 'GET',
      path: '/v1/instances/{id}/stats',
      summary: 'Use of resources at this moment.',
      scope: 'state:read',
      params,
      answer: { description: 'What the runtime can tell.', content: { 'application/json': guestStats } },
      errors: ['INSTANCE_NOT_FOUND', 'GUEST_UNSUPPORTED'],
      handle: async ({ param }) => Response.json(await kernel.stats(param('id'))),
    }),
    route({
      id: 'readLogs',
      method: 'GET',
      path: '/v1/instances/{id}/logs',
      summary:
        'Output of a guest as it was kept, of it the last lines (`tail`) or what was written since (`since`, in ' +
        'milliseconds of the epoch), and with `follow` as it comes. `container` names one of several containers; else ' +
        'it is the first.',
      scope: 'guests:logs',
      params,
      query: logsQuery,
      answer: {
        description: 'With `Accept: application/x-ndjson` one JSON object a line; otherwise the plain bytes.',
        content: { [ndjson]: logLine, 'application/octet-stream': undefined },
      },
      errors: ['INSTANCE_NOT_FOUND', 'GUEST_UNSUPPORTED'],
      handle: ({ param, query, context }) => {
        const form = context.req.header('accept')?.includes(ndjson) ? 'lines' : 'bytes';
        // A client that has half-closed its connection would otherwise keep ours open.
        return logsResponse(kernel, param('id'), query, form, () => context.env.outgoing.destroy());
      },
    }),
  ];
}
