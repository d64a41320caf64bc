import type { Constraint } from '@cloudos/sdk';

/** Well-known labels of nodes and the attributes that say the same here. */
const nodeAttributes: Readonly<Record<string, string>> = {
  'kubernetes.io/arch': 'arch',
  'kubernetes.io/hostname': 'hostname',
  'topology.kubernetes.io/zone': 'zone',
  'topology.kubernetes.io/region': 'region',
  'node.kubernetes.io/instance-type': 'instance-type',
};

/** Names that one processor architecture goes by. */
const architectures: readonly (readonly string[])[] = [
  ['amd64', 'x86_64', 'x64'],
  ['arm64', 'aarch64'],
];

/** What a topology key groups nodes by: themselves, or an attribute. */
export function topologyAttribute(key: string): string {
  return key === 'kubernetes.io/hostname' ? 'node' : (nodeAttributes[key] ?? key);
}

/** A requirement on a label of nodes as one on the attribute that says the same. */
export function nodeConstraint(label: string, operator: Constraint['operator'], values: readonly string[]): Constraint {
  const attribute = nodeAttributes[label] ?? label;
  const alike = (value: string) =>
    attribute === 'arch' ? (architectures.find((names) => names.includes(value)) ?? [value]) : [value];
  return { attribute, operator, values: values.flatMap((value) => [...alike(value)]) };
}
