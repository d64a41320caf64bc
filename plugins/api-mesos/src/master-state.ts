import type { ClusterView, KernelStatus } from '@cloudos/sdk';
import { scalarsOf } from './amounts.ts';
import type { Scheduler } from './scheduler.ts';

/** The version of the API that is served. */
const mesosVersion = '1.11.0';

export function healthJson(): object {
  return {};
}

export function versionJson({ version, startedAt }: KernelStatus): object {
  return { version: mesosVersion, build_user: 'cloudos', git_tag: version, start_time: startedAt / 1_000 };
}

/** A slice of the master's `/state`: agents, frameworks and their tasks. */
export function stateJson(status: KernelStatus, view: ClusterView, scheduler: Scheduler): object {
  const live = view.nodes.filter(({ state }) => state === 'ready' || state === 'cordoned');
  return {
    ...versionJson(status),
    id: status.stack,
    activated_slaves: live.length,
    unreachable_slaves: view.nodes.filter(({ state }) => state === 'lost').length,
    slaves: live.map(({ node, capacity, used, attributes, state }) => ({
      id: node,
      hostname: node,
      active: true,
      deactivated: state === 'cordoned',
      attributes,
      resources: Object.fromEntries(scalarsOf(capacity)),
      used_resources: Object.fromEntries(scalarsOf(used)),
    })),
    frameworks: [...scheduler.frameworks.values()].map((framework) => ({
      id: framework.id,
      name: framework.name,
      active: framework.active,
      connected: framework.connected,
      capabilities: [...framework.capabilities],
      offers: [...framework.offers.keys()],
      tasks: scheduler.tasks.of(framework.id).map(({ manifest, latest }) => ({
        id: manifest.task,
        name: manifest.name,
        framework_id: framework.id,
        slave_id: manifest.agent,
        role: manifest.role,
        state: latest.state,
      })),
    })),
  };
}
