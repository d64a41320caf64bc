import { type GuestMount, guestMount } from '@cloudos/sdk';
import type { Fields } from './fields.ts';

/** Path on the node by the name of a volume; undefined for one that was refused. */
export type Volumes = ReadonlyMap<string, string | undefined>;

/** Types of a hostPath that ask for nothing to be made on the node. */
const hostPathTypes = ['', 'Directory', 'File', 'Socket'] as const;

const form = 'an absolute path without `.` and `..`';

/** The volumes of a pod: paths of the node (https://kubernetes.io/docs/concepts/storage/volumes/#hostpath). */
export function readVolumes(pod: Fields): Volumes {
  const volumes = new Map<string, string | undefined>();
  for (const volume of pod.list('volumes')) {
    const name = volume.required('name');
    if (name && volumes.has(name)) volume.report.refuse(volume.at('name'), `${name} names two volumes`);
    volumes.set(name, readHostPath(volume));
  }
  return volumes;
}

function readHostPath(volume: Fields): string | undefined {
  const others = volume.keys().filter((key) => key !== 'name' && key !== 'hostPath');
  for (const kind of others) volume.report.refuse(volume.at(kind), 'is not supported: volumes are hostPath alone');
  const fields = volume.object('hostPath');
  if (!fields) {
    const given = others.length > 0 || volume.has('hostPath');
    if (!given) volume.report.refuse(volume.path, 'names no kind of volume, expected hostPath');
    return undefined;
  }
  const path = fields.required('path');
  if (path && !guestMount.shape.hostPath.safeParse(path).success) {
    fields.report.invalid(fields.at('path'), path, form);
  }
  const type = fields.oneOf('type', hostPathTypes);
  if (type) fields.report.warn(fields.at('type'), 'not checked: what lies at the path is mounted');
  fields.done();
  return path;
}

/** The `volumeMounts` of a container. As in Kubernetes they may be written unless they say `readOnly`. */
export function readMounts(container: Fields, volumes: Volumes): GuestMount[] {
  const mounts: GuestMount[] = [];
  for (const fields of container.list('volumeMounts')) {
    const [name, target] = [fields.required('name'), fields.required('mountPath')];
    if (name && !volumes.has(name)) {
      const known =
        volumes.size > 0 ? `a volume of the pod (${[...volumes.keys()].join(', ')})` : 'a volume of the pod';
      fields.report.invalid(fields.at('name'), name, known);
    }
    if (target && (!guestMount.shape.target.safeParse(target).success || /^\/+$/.test(target))) {
      fields.report.invalid(fields.at('mountPath'), target, `${form} below the root`);
    }
    if (mounts.some((mount) => mount.target === target)) {
      fields.report.refuse(fields.at('mountPath'), `${target} is the place of two volumes`);
    }
    const readOnly = fields.bool('readOnly') ?? false;
    fields.unsupported(['subPath', 'subPathExpr'], 'is not supported: name the whole path in hostPath');
    fields.oneOf('mountPropagation', ['None']);
    fields.oneOf('recursiveReadOnly', ['Disabled', 'IfPossible']);
    fields.done();
    const hostPath = volumes.get(name);
    if (hostPath) mounts.push({ hostPath, target, readOnly });
  }
  return mounts;
}
