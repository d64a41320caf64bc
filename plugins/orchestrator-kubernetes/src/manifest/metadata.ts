import type { Fields } from './fields.ts';

export interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}

/** Names of Kubernetes (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/). */
const label = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?';
export const dnsLabel = new RegExp(`^${label}$`);
const dnsSubdomain = new RegExp(`^(?=.{1,253}$)${label}(\\.${label})*$`);

/** What a server adds to an object; accepted so that what `kubectl get -o yaml` prints can be applied. */
const serverFields = [
  'creationTimestamp',
  'deletionGracePeriodSeconds',
  'deletionTimestamp',
  'finalizers',
  'generateName',
  'generation',
  'managedFields',
  'ownerReferences',
  'resourceVersion',
  'selfLink',
  'uid',
];

/** @param named whether a name must be there: the metadata of a template has none */
export function readMetadata(owner: Fields, named: 'label' | 'subdomain' | 'none'): Metadata {
  const fields = owner.object('metadata');
  if (!fields) {
    if (named !== 'none') owner.report.invalid(owner.at('metadata.name'), undefined, 'a name');
    return { name: '', namespace: 'default', labels: {}, annotations: {} };
  }
  fields.silent(serverFields);
  const name = named === 'none' ? (fields.string('name') ?? '') : fields.required('name');
  const pattern = named === 'label' ? dnsLabel : dnsSubdomain;
  if (named !== 'none' && name && !pattern.test(name)) {
    const form = named === 'label' ? 'at most 63' : 'at most 253';
    fields.report.invalid(fields.at('name'), name, `${form} lower-case letters, digits and dashes, such as web-1`);
  }
  const namespace = fields.string('namespace') ?? 'default';
  if (!dnsLabel.test(namespace)) {
    fields.report.invalid(fields.at('namespace'), namespace, 'lower-case letters, digits and dashes');
  }
  const metadata = {
    name,
    namespace,
    labels: fields.stringMap('labels'),
    annotations: fields.stringMap('annotations'),
  };
  fields.done();
  return metadata;
}
