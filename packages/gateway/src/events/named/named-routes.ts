import type { SubscriptionInfo } from '@cloudos/client';
import { z } from 'zod';
import { type Route, route } from '../../routes/route.ts';
import { count, describes, epochMs, positionOrNone } from '../../routes/shapes.ts';
import { filterSchema } from '../control-schemas.ts';
import type { NamedSubscriptions } from './named-subscriptions.ts';

const json = 'application/json';

export const subscriptionInfo = describes<SubscriptionInfo>()(
  z.object({
    name: z.string(),
    owner: z.string().meta({ description: 'Id of the token whose it is.' }),
    filter: filterSchema,
    cursor: positionOrNone.meta({ description: 'Everything that it selects up to here was acknowledged.' }),
    head: positionOrNone,
    createdAt: epochMs,
    consumers: count.meta({ description: 'Connections that take from it now.' }),
    outstanding: count.meta({ description: 'Events that were read and are not acknowledged.' }),
  }),
);

/** Lists and deletes named subscriptions; they are made by connecting to one. */
export function subscriptionRoutes(named: NamedSubscriptions): Route[] {
  return [
    route({
      id: 'listSubscriptions',
      method: 'GET',
      path: '/v1/subscriptions',
      summary: 'The named subscriptions of the token; of all tokens for an admin.',
      scope: 'events:read',
      answer: { description: 'By name.', content: { [json]: z.array(subscriptionInfo) } },
      handle: ({ principal }) => Response.json(named.list(principal)),
    }),
    route({
      id: 'deleteSubscription',
      method: 'DELETE',
      path: '/v1/subscriptions/{name}',
      summary: 'Deletes a named subscription and closes its connections.',
      scope: 'events:read',
      params: { name: 'Of the subscription.' },
      answer: { description: 'What it was.', content: { [json]: subscriptionInfo } },
      errors: ['SUBSCRIPTION_NOT_FOUND'],
      handle: async ({ principal, param }) => Response.json(await named.delete(param('name'), principal)),
    }),
  ];
}
