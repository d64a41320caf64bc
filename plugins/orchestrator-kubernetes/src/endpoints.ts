import type { Endpoint, NewEvent } from '@cloudos/sdk';
import { event } from '@cloudos/sdk';
import type { Group, Instance, Service, State } from './state.ts';
import { selects } from './state.ts';

/**
 * New endpoints of a service wait until its last change is as many milliseconds ago as it has endpoints, at most
 * that long: a change repeats the whole list, and thousands of instances become ready one after another. The first
 * hundred do not wait, and what is taken away never does.
 */
export const additionsHoldMaxMs = 5_000;
const holdFrom = 100;

/** Where the service reaches the instance; undefined when it has no address or none of the ports. */
export function endpointOf(service: Service, instance: Instance): Endpoint | undefined {
  const { address, node } = instance;
  if (!address || node === undefined) return undefined;
  const ports: Record<string, number> = {};
  for (const { targetPort } of service.spec.ports) {
    const port =
      typeof targetPort === 'number'
        ? targetPort
        : instance.group.part.template.ports.find((named) => named.name === targetPort)?.port;
    if (port !== undefined) ports[String(targetPort)] = address.ports?.[String(port)] ?? port;
  }
  if (Object.keys(ports).length === 0) return undefined;
  return { instance: instance.id, node, host: address.host, ports };
}

/** Takes note of an instance that became ready, has another address, or is not ready any more. */
export function noteEndpoint(state: State, instance: Instance): void {
  for (const service of instance.group.services) {
    const endpoint = instance.ready ? endpointOf(service, instance) : undefined;
    if (endpoint) service.ready.set(instance.id, endpoint);
    else if (!service.ready.delete(instance.id)) continue;
    state.dirtyServices.add(service);
  }
}

/** Finds the instances behind a service whose selector or ports are new. */
export function collectEndpoints(state: State, service: Service): void {
  service.ready.clear();
  for (const workload of state.workloadsOf.get(service.namespace) ?? []) {
    for (const group of workload.groups.values()) relinkGroup(group, service);
  }
  state.dirtyServices.add(service);
}

function relinkGroup(group: Group, service: Service): void {
  group.services = group.services.filter((other) => other !== service);
  if (!selects(service.spec.selector, group.part.template)) return;
  group.services.push(service);
  for (const instance of group.ready) {
    const endpoint = endpointOf(service, instance);
    if (endpoint) service.ready.set(instance.id, endpoint);
  }
}

/**
 * The event that brings the published list up to date, if it is not.
 * @param leaving instances that the same decision withdraws
 * @returns a time instead when the change is to wait
 */
export function planEndpoints(
  service: Service,
  leaving: ReadonlySet<Instance>,
  now: number,
): NewEvent | { readonly wait: number } | undefined {
  const gone = new Set<string>();
  for (const instance of leaving) if (service.ready.has(instance.id)) gone.add(instance.id);
  const size = service.ready.size - gone.size;
  const kept = service.published.every((old) => {
    const current = gone.has(old.instance) ? undefined : service.ready.get(old.instance);
    return current !== undefined && sameEndpoint(current, old);
  });
  if (kept && size === service.published.length) return undefined;
  const hold = service.published.length < holdFrom ? 0 : Math.min(service.published.length, additionsHoldMaxMs);
  if (kept && now < service.changedAt + hold) return { wait: service.changedAt + hold };
  const endpoints = [...service.ready.values()].filter((endpoint) => !gone.has(endpoint.instance));
  endpoints.sort((a, b) => (a.instance < b.instance ? -1 : 1));
  return event('ServiceEndpointsChanged', { service: service.spec.service, endpoints });
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  if (a === b) return true;
  if (a.host !== b.host || a.node !== b.node) return false;
  const ports = Object.keys(a.ports);
  return ports.length === Object.keys(b.ports).length && ports.every((port) => a.ports[port] === b.ports[port]);
}
