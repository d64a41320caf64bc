import type { Kernel } from '@cloudos/kernel';
import { viewQuery } from '../queries.ts';
import { type Route, route } from './route.ts';
import { clusterView, doctorReport, explanation, kernelStatus, pluginViews } from './views.schema.ts';

const json = 'application/json';

/** What is, what was, and why. */
export function stateRoutes(kernel: Kernel): Route[] {
  return [
    route({
      id: 'getStatus',
      method: 'GET',
      path: '/v1/status',
      summary: 'The kernel in one look.',
      scope: 'any',
      answer: { description: 'The stack, its process and the head of its log.', content: { [json]: kernelStatus } },
      handle: () => Response.json(kernel.status()),
    }),
    route({
      id: 'getView',
      method: 'GET',
      path: '/v1/view',
      summary: 'What the log says about the cluster at its head, or at a position.',
      scope: 'state:read',
      query: viewQuery,
      answer: { description: 'Nodes, workloads, instances and services.', content: { [json]: clusterView } },
      errors: ['POSITION_OUT_OF_RANGE'],
      handle: async ({ query: { at } }) => Response.json(await kernel.view(at)),
    }),
    route({
      id: 'listPlugins',
      method: 'GET',
      path: '/v1/plugins',
      summary: 'The provider of every slot, as it is now.',
      scope: 'state:read',
      answer: { description: 'One entry for each provider.', content: { [json]: pluginViews } },
      handle: () => Response.json(kernel.plugins()),
    }),
    route({
      id: 'explain',
      method: 'GET',
      path: '/v1/why/{subject*}',
      summary: 'Why an instance, a workload or a node is as it is.',
      scope: 'state:read',
      params: { subject: 'Name of an instance, a workload (`default/web`) or a node.' },
      answer: { description: 'The chain of events, and the conclusion in words.', content: { [json]: explanation } },
      errors: ['INSTANCE_NOT_FOUND'],
      handle: async ({ param }) => Response.json(await kernel.why(param('subject'))),
    }),
    route({
      id: 'getDoctorReport',
      method: 'GET',
      path: '/v1/doctor',
      summary: 'What each node offers, what is missing, and how to get it.',
      scope: 'state:read',
      answer: { description: 'Checks by node.', content: { [json]: doctorReport } },
      handle: async () => Response.json(await kernel.doctor()),
    }),
  ];
}
