import type { EventData, PlacementRule } from '@cloudos/sdk';

type Request = EventData<'InstanceRequested'>;

/** Another instance that has a place. */
export interface Neighbour {
  readonly request: Request;
  readonly node: string;
  readonly leaving: boolean;
}

/** What the rules about company need to know, asked in the plainest way. */
export interface CompanyView {
  /** Everyone else who has a place. */
  readonly others: readonly Neighbour[];
  attributes(node: string): Readonly<Record<string, string>>;
  /** Nodes that are there, cordoned or not, and meet runtime and constraints of the request. */
  readonly eligible: readonly string[];
}

/** Why company forbids the node to the request; undefined when it does not. */
export function companyObstacle(request: Request, node: string, view: CompanyView): string | undefined {
  for (const rule of request.placement ?? []) {
    const broken = rule.required ? brokenBy(rule, request, node, view) : undefined;
    if (broken) return `${broken} (${JSON.stringify(rule)})`;
  }
  for (const { request: other, node: where } of view.others) {
    for (const rule of other.placement ?? []) {
      if (!rule.required || rule.max !== 0 || !bears(rule, request)) continue;
      const domain = domainOf(rule.scope, node, view);
      if (domain !== undefined && domainOf(rule.scope, where, view) === domain) {
        return `${other.instance} keeps away from it (${JSON.stringify(rule)})`;
      }
    }
  }
  return undefined;
}

function brokenBy(rule: PlacementRule, request: Request, node: string, view: CompanyView): string | undefined {
  const domain = domainOf(rule.scope, node, view);
  const counted = view.others.filter((other) => bears(rule, other.request));
  const near = counted.filter((other) => domain !== undefined && domainOf(rule.scope, other.node, view) === domain);
  const staying = near.filter(({ leaving }) => !leaving).length;
  const own = bears(rule, request);
  if (rule.max !== undefined && near.length > rule.max) return `${near.length} are near`;
  if (rule.min === undefined && rule.maxSkew === undefined) return undefined;
  if (domain === undefined) return `${node} has no ${rule.scope}`;
  const total = counted.filter(({ leaving }) => !leaving).length;
  if (rule.min !== undefined && staying < (own ? Math.min(rule.min, total) : rule.min))
    return `only ${staying} are near`;
  if (rule.maxSkew === undefined) return undefined;
  const domains = new Set(view.eligible.map((each) => domainOf(rule.scope, each, view)));
  domains.delete(undefined);
  const counts = [...domains].map(
    (each) => counted.filter((other) => !other.leaving && domainOf(rule.scope, other.node, view) === each).length,
  );
  const skew = staying + (own ? 1 : 0) - (counts.length > 0 ? Math.min(...counts) : 0);
  return skew > rule.maxSkew ? `${skew} more than where there are fewest` : undefined;
}

function domainOf(scope: string, node: string, view: CompanyView): string | undefined {
  return scope === 'node' ? node : view.attributes(node)[scope];
}

function bears({ tags }: PlacementRule, { workload, tags: own = [] }: Request): boolean {
  return tags.every((tag) => own.includes(tag) || tag === `workload:${workload}`);
}
