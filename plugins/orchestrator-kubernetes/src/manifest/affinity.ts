import type { Constraint, PlacementRule } from '@cloudos/sdk';
import { labelTag } from '../tags.ts';
import type { Fields } from './fields.ts';
import { nodeConstraint, topologyAttribute } from './topology.ts';

/** What a pod says about its company and its nodes. */
export interface Affinity {
  readonly placement: PlacementRule[];
  readonly constraints: Constraint[];
}

/**
 * Affinity and topology spread constraints
 * (https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/ and …/topology-spread-constraints/).
 * Selectors are of labels with equal values; other namespaces can be named one at a time.
 */
export function readAffinity(spec: Fields, namespace: string): Affinity {
  const read: Affinity = { placement: [], constraints: [] };
  const affinity = spec.object('affinity');
  readNodeAffinity(affinity?.object('nodeAffinity'), read.constraints);
  for (const [key, rule] of [['podAffinity', { min: 1 }] as const, ['podAntiAffinity', { max: 0 }] as const]) {
    const fields = affinity?.object(key);
    for (const term of fields?.list('requiredDuringSchedulingIgnoredDuringExecution') ?? []) {
      addRule(read.placement, term, namespace, { ...rule, required: true });
    }
    for (const wish of fields?.list('preferredDuringSchedulingIgnoredDuringExecution') ?? []) {
      const weight = wish.int('weight', { min: 1, max: 100 }) ?? 1;
      const term = wish.object('podAffinityTerm');
      if (term) addRule(read.placement, term, namespace, { ...rule, required: false, weight });
      wish.done();
    }
    fields?.done();
  }
  affinity?.done();
  for (const term of spec.list('topologySpreadConstraints')) {
    const maxSkew = term.int('maxSkew', { min: 1 });
    const when = term.oneOf('whenUnsatisfiable', ['DoNotSchedule', 'ScheduleAnyway']) ?? 'DoNotSchedule';
    term.advisory(['minDomains', 'nodeAffinityPolicy', 'nodeTaintsPolicy', 'matchLabelKeys'], 'ignored');
    if (maxSkew === undefined) term.report.invalid(term.at('maxSkew'), undefined, 'a whole number from 1');
    else addRule(read.placement, term, namespace, { maxSkew, required: when === 'DoNotSchedule' });
  }
  return read;
}

function addRule(
  rules: PlacementRule[],
  term: Fields,
  namespace: string,
  rule: Omit<PlacementRule, 'scope' | 'tags'>,
): void {
  const key = term.required('topologyKey');
  term.unsupported(['namespaceSelector'], 'is not supported: name the namespace under namespaces');
  term.advisory(['matchLabelKeys', 'mismatchLabelKeys'], 'ignored');
  const namespaces = term.strings('namespaces') ?? [];
  if (namespaces.length > 1) term.report.invalid(term.at('namespaces'), namespaces, 'at most one');
  const tags = readSelector(term, namespaces[0] ?? namespace);
  term.done();
  if (tags.length > 0) rules.push({ scope: topologyAttribute(key), tags, ...rule });
}

/** The tags that stand for a label selector. Expressions with one value are labels written at length. */
function readSelector(term: Fields, namespace: string): string[] {
  const selector = term.object('labelSelector');
  const labels = selector?.stringMap('matchLabels') ?? {};
  for (const expression of selector?.list('matchExpressions') ?? []) {
    const key = expression.required('key');
    const operator = expression.string('operator');
    const values = expression.strings('values') ?? [];
    expression.done();
    if (operator === 'In' && values.length === 1) labels[key] = values[0]!;
    else expression.report.refuse(expression.path, `${operator} of ${values.length} values is not supported`);
  }
  selector?.done();
  const tags = Object.keys(labels)
    .sort()
    .map((name) => labelTag(namespace, name, labels[name]!));
  if (tags.length === 0) term.report.invalid(term.at('labelSelector'), undefined, 'at least one label');
  return tags;
}

function readNodeAffinity(affinity: Fields | undefined, constraints: Constraint[]): void {
  affinity?.advisory(['preferredDuringSchedulingIgnoredDuringExecution'], 'ignored: only what is required counts');
  const required = affinity?.object('requiredDuringSchedulingIgnoredDuringExecution');
  const terms = required?.list('nodeSelectorTerms') ?? [];
  if (terms.length > 1) {
    required?.report.refuse(required.at('nodeSelectorTerms'), 'alternatives are not supported: give one term');
  }
  for (const expression of terms[0]?.list('matchExpressions') ?? []) {
    const key = expression.required('key');
    const operator = expression.oneOf('operator', ['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt']);
    const values = expression.strings('values') ?? [];
    expression.done();
    if (operator) constraints.push(nodeConstraint(key, operators[operator], values));
  }
  terms[0]?.unsupported(['matchFields'], 'is not supported: use nodeName');
  terms[0]?.done();
  required?.done();
  affinity?.done();
}

const operators = {
  In: 'in',
  NotIn: 'not-in',
  Exists: 'exists',
  DoesNotExist: 'not-exists',
  Gt: 'gt',
  Lt: 'lt',
} as const;
