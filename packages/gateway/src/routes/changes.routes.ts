import type { DownLine } from '@cloudos/client';
import type { CommandOptions, Kernel } from '@cloudos/kernel';
import type { CommandResult, SwapRequest, SwapResult } from '@cloudos/sdk';
import { z } from 'zod';
import { assertScope } from '../access/principal.ts';
import { commandBody, swapBody } from '../queries.ts';
import { downResponse, ndjson } from '../streams.ts';
import { type Route, route } from './route.ts';
import { count, describes, errorBody } from './shapes.ts';

const json = 'application/json';

const commandResult = describes<CommandResult>()(
  z.object({
    positions: z.object({ first: count, last: count }).optional(),
    events: z.array(z.object({ type: z.string(), data: z.unknown() })),
    warnings: z.array(z.string()),
    correlation: z.string(),
  }),
);

const swapResult = describes<SwapResult>()(
  z.object({
    slot: z.string(),
    from: z.string(),
    to: z.string(),
    generation: count,
    position: count,
    catchUpMs: z.number().nonnegative(),
  }),
);

const downLine = describes<DownLine>()(
  z.union([z.object({ progress: z.string() }), z.object({ done: z.literal(true) }), z.object({ error: errorBody })]),
);

/** The two ways in which a client ends the kernel. */
export interface Endings {
  down(onProgress: (text: string) => void): Promise<void>;
  stop(): Promise<void>;
}

/** What changes the cluster, its layers, or the kernel. */
export function changeRoutes(kernel: Kernel, endings: Endings): Route[] {
  return [
    route({
      id: 'sendCommand',
      method: 'POST',
      path: '/v1/commands',
      summary: 'A command to the policy of a slot. Sent again with the same `id` it does nothing twice.',
      scope: 'any',
      scopes: ['orchestrator:command', 'resources:command'],
      body: commandBody,
      bodyCode: 'COMMAND_INVALID',
      answer: { description: 'What was decided and recorded.', content: { [json]: commandResult } },
      errors: ['COMMAND_INVALID', 'COMMAND_REFUSED', 'WORKLOAD_NOT_FOUND', 'NODE_NOT_FOUND', 'SLOT_EMPTY'],
      handle: async ({ principal, body: { id, ...command }, context }) => {
        assertScope(principal, `${command.slot}:command`);
        const traceparent = context.req.header('traceparent');
        const options: CommandOptions = {
          ...(id === undefined ? {} : { id }),
          ...(traceparent === undefined ? {} : { traceparent }),
        };
        return Response.json(await kernel.command(command, options));
      },
    }),
    route({
      id: 'swap',
      method: 'POST',
      path: '/v1/swap',
      summary: 'Replaces the provider of a slot while everything runs.',
      scope: 'admin',
      body: swapBody,
      answer: { description: 'The swap is complete.', content: { [json]: swapResult } },
      errors: ['PLUGIN_NOT_FOUND', 'SLOT_MISMATCH', 'SWAP_ABORTED', 'SWAP_IN_PROGRESS'],
      handle: async ({ body }) => Response.json(await kernel.swap(body as SwapRequest)),
    }),
    route({
      id: 'stop',
      method: 'POST',
      path: '/v1/stop',
      summary: 'Stops the kernel. Guests go on running.',
      scope: 'admin',
      answer: { description: 'It has stopped.', content: { [json]: z.object({ stopped: z.literal(true) }) } },
      handle: async () => {
        await endings.stop();
        return Response.json({ stopped: true });
      },
    }),
    route({
      id: 'down',
      method: 'POST',
      path: '/v1/down',
      summary: 'Removes every workload and guest, then stops the kernel.',
      scope: 'admin',
      answer: {
        description: 'One line for each step; the last is `done` or `error`.',
        content: { [ndjson]: downLine },
      },
      handle: () => downResponse(endings.down),
    }),
  ];
}
