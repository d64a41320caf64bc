import { scalarsOf } from './amounts.ts';
import type { OfferData, Unavailability } from './policy-events.ts';

/** An agent as offers describe it. */
export interface AgentFacts {
  readonly node: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** Port of the agents of Mesos. Nothing listens there: it is part of the shape of an offer. */
const agentPort = 5051;

/** An Offer as it goes over the wire. */
export function offerJson(offer: OfferData, { node, attributes }: AgentFacts): object {
  return {
    id: { value: offer.offer },
    framework_id: { value: offer.framework },
    agent_id: { value: node },
    hostname: node,
    url: {
      scheme: 'http',
      address: { hostname: node, ip: attributes.address ?? '127.0.0.1', port: agentPort },
      path: '/slave(1)',
    },
    allocation_info: { role: offer.role },
    resources: resourcesJson(offer),
    attributes: Object.entries(attributes).map(([name, value]) => ({ name, type: 'TEXT', text: { value } })),
    ...(offer.unavailability && { unavailability: unavailabilityJson(offer.unavailability) }),
  };
}

/** What is set aside by itself, with whom it is for; then the rest; then the ports. */
function resourcesJson({ resources, reserved = [], ports, role }: OfferData): object[] {
  const rest = new Map(scalarsOf(resources));
  const allocated = { allocation_info: { role } };
  const parts = reserved.flatMap((part) =>
    scalarsOf(part.resources).map(([name, value]) => {
      rest.set(name, Math.max(0, (rest.get(name) ?? 0) - value));
      const labels = Object.entries(part.labels ?? {}).map(([key, text]) => ({ key, value: text }));
      const reservation = {
        type: part.fixed ? 'STATIC' : 'DYNAMIC',
        role: part.owner,
        ...(part.principal !== undefined && { principal: part.principal }),
        ...(labels.length > 0 && { labels: { labels } }),
      };
      return { ...scalar(name, value), ...allocated, role: part.owner, reservations: [reservation] };
    }),
  );
  const free = [...rest]
    .filter(([, value]) => value > 0)
    .map(([name, value]) => ({ ...scalar(name, value), ...allocated, role: '*' }));
  const ranges = { name: 'ports', type: 'RANGES', ranges: { range: ports }, ...allocated, role: '*' };
  return [...free, ...parts, ...(ports.length > 0 ? [ranges] : [])];
}

function scalar(name: string, value: number) {
  return { name, type: 'SCALAR', scalar: { value } };
}

export function unavailabilityJson({ from, durationMs }: Unavailability): object {
  return { start: { nanoseconds: from * 1e6 }, duration: { nanoseconds: durationMs * 1e6 } };
}
