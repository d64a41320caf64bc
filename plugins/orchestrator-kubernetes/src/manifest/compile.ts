import { type Refusal, refuse, type ServiceSpec } from '@cloudos/sdk';
import { type ManifestObject, readDocuments } from './documents.ts';
import { Fields, nearest, problemsMax, Report } from './fields.ts';
import { readMetadata } from './metadata.ts';
import { readService } from './service.ts';
import { type DeclaredWorkload, readBarePod, readReplicated } from './workload.ts';

/** What a manifest declares, in its order. */
export interface Compiled {
  readonly workloads: readonly DeclaredWorkload[];
  readonly services: readonly ServiceSpec[];
  readonly namespaces: readonly string[];
  readonly warnings: readonly string[];
}

interface Draft {
  workloads: DeclaredWorkload[];
  services: ServiceSpec[];
  namespaces: string[];
}

type Reader = (fields: Fields, draft: Draft, object: ManifestObject, classes: Readonly<Record<string, number>>) => void;

const kinds: Readonly<Record<string, { apiVersion: string; read: Reader }>> = {
  Deployment: {
    apiVersion: 'apps/v1',
    read: readWorkload((fields, classes) => readReplicated(fields, 'Deployment', classes)),
  },
  ReplicaSet: {
    apiVersion: 'apps/v1',
    read: readWorkload((fields, classes) => readReplicated(fields, 'ReplicaSet', classes)),
  },
  Pod: { apiVersion: 'v1', read: readWorkload(readBarePod) },
  Service: {
    apiVersion: 'v1',
    read(fields, draft, object) {
      const service = readService(fields);
      if (service) draft.services.push({ ...service, manifest: object.value });
    },
  },
  Namespace: {
    apiVersion: 'v1',
    read(fields, draft) {
      draft.namespaces.push(readMetadata(fields, 'label').name);
      fields.silent(['spec', 'status']);
      fields.done();
    },
  },
};

function readWorkload(
  read: (fields: Fields, classes: Readonly<Record<string, number>>) => DeclaredWorkload | undefined,
): Reader {
  return (fields, draft, object, classes) => {
    const declared = read(fields, classes);
    if (declared) draft.workloads.push({ ...declared, manifest: object.value });
  };
}

const knownKinds = Object.entries(kinds).map(([kind, { apiVersion }]) => `${kind} (${apiVersion})`);

/** Reads a manifest as `kubectl apply` would. All objects are sound, or the whole is refused. */
export function compile(
  text: string,
  source: string,
  priorityClasses: Readonly<Record<string, number>>,
): Compiled | Refusal {
  const objects = readDocuments(text, source);
  if ('refused' in objects) return objects;
  const draft: Draft = { workloads: [], services: [], namespaces: [] };
  const problems: string[] = [];
  const warnings: string[] = [];
  const seen = new Map<string, string>();
  for (const object of objects) {
    const { kind, apiVersion } = object.value;
    const known = typeof kind === 'string' && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
    if (!known || known.apiVersion !== apiVersion) return unknownKind(object, source);
    const report = new Report(`${object.place}, ${subjectOf(object)}`);
    const fields = new Fields(report, '', object.value);
    fields.silent(['kind', 'apiVersion']);
    known.read(fields, draft, object, priorityClasses);
    problems.push(...report.problems);
    warnings.push(...report.warnings);
    const name = subjectOf(object);
    const earlier = seen.get(name);
    if (earlier) problems.push(`${object.place}: ${name} is declared in ${earlier} already`);
    seen.set(name, object.place);
  }
  if (problems.length === 0) return { ...draft, warnings };
  const more = problems.length > problemsMax ? `; and ${problems.length - problemsMax} more` : '';
  return refuse('MANIFEST_INVALID', `${source}: ${problems.slice(0, problemsMax).join('; ')}${more}`);
}

/** `Deployment default/web`: what the object says it is. */
function subjectOf({ value }: ManifestObject): string {
  const metadata = value.metadata as { name?: unknown; namespace?: unknown } | null | undefined;
  const name = typeof metadata?.name === 'string' ? metadata.name : '(no name)';
  const namespace = typeof metadata?.namespace === 'string' ? metadata.namespace : 'default';
  return value.kind === 'Namespace' ? `Namespace ${name}` : `${String(value.kind)} ${namespace}/${name}`;
}

function unknownKind({ value, place }: ManifestObject, source: string): Refusal {
  const kind = typeof value.kind === 'string' ? value.kind : undefined;
  const said = kind
    ? `kind ${kind} of apiVersion ${String(value.apiVersion ?? '(none)')} is not known`
    : 'given no kind, expected one';
  const near = kind && (Object.hasOwn(kinds, kind) ? undefined : nearest(kind, Object.keys(kinds)));
  const reason = kind === 'Secret' ? '; secrets never enter the log, so they cannot be declared in a manifest' : '';
  const hint = near ? `; did you mean ${near}?` : '';
  return refuse(
    'MANIFEST_KIND_UNKNOWN',
    `${source}: ${place}: ${said}${reason}${hint}; known are ${knownKinds.join(', ')}`,
  );
}
