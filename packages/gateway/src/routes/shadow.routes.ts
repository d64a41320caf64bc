import type { Kernel } from '@cloudos/kernel';
import type { ShadowRequest } from '@cloudos/sdk';
import { z } from 'zod';
import { shadowBody } from '../queries.ts';
import { type Route, route } from './route.ts';
import { shadowView } from './views.schema.ts';

const json = 'application/json';

/** Resource managers that decide on the live log without acting. */
export function shadowRoutes(kernel: Kernel): Route[] {
  return [
    route({
      id: 'startShadow',
      method: 'POST',
      path: '/v1/shadows',
      summary: 'Runs a resource manager on the live log without acting, beside the one in charge.',
      scope: 'admin',
      body: shadowBody,
      answer: { description: 'It is level with the log and decides.', status: 201, content: { [json]: shadowView } },
      errors: ['PLUGIN_NOT_FOUND', 'SLOT_MISMATCH', 'SHADOW_EXISTS', 'SHADOWS_EXCEEDED', 'LOG_TRIMMED'],
      handle: async ({ body }) => Response.json(await kernel.shadow(body as ShadowRequest), { status: 201 }),
    }),
    route({
      id: 'listShadows',
      method: 'GET',
      path: '/v1/shadows',
      summary: 'What each shadow would have done, beside what was done.',
      scope: 'state:read',
      answer: { description: 'One entry for each shadow.', content: { [json]: z.array(shadowView) } },
      handle: () => Response.json(kernel.shadows()),
    }),
    route({
      id: 'endShadow',
      method: 'DELETE',
      path: '/v1/shadows/{plugin}',
      summary: 'Ends a shadow.',
      scope: 'admin',
      params: { plugin: 'Name of its plugin.' },
      answer: { description: 'Its last view.', content: { [json]: shadowView } },
      errors: ['SHADOW_NOT_FOUND'],
      handle: async ({ param }) => Response.json(await kernel.endShadow(param('plugin'))),
    }),
  ];
}
