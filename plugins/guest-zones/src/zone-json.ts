import {
  CloudosError,
  describeIssues,
  type GuestSpec,
  type GuestStatus,
  type GuestTemplate,
  guestTemplate,
  type ResourceVector,
} from '@cloudos/sdk';
import { z } from 'zod';
import { brandOf, type ZoneOptions, zoneLimits, zoneOptions, zoneOptionsOf } from './zone-options.ts';

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

/** Brands of SmartOS and what they are here. `joyent` is the sparse zone of SmartOS itself. */
const brands: Readonly<Record<string, string>> = {
  joyent: 'sparse',
  'joyent-minimal': 'sparse',
  sparse: 'sparse',
  'whole-root': 'whole-root',
  lx: 'lx',
};

/**
 * A zone as `vmadm create` takes it (vmadm(8), "Properties"), as far as it is about one zone on this node. What is not
 * known is refused by name and never ignored.
 */
const zoneJson = z.strictObject({
  alias: z.string().optional(),
  hostname: z.string().min(1).max(63).optional(),
  brand: z.enum(Object.keys(brands) as [string, ...string[]]).default('joyent'),
  /** An image of the store; `vmadm` names it by UUID. */
  image_uuid: z.string().optional(),
  cpu_cap: zoneOptions.shape.cpu_cap,
  cpu_shares: zoneOptions.shape.cpu_shares,
  max_physical_memory: zoneOptions.shape.max_physical_memory,
  max_lwps: zoneOptions.shape.max_lwps,
  quota: zoneOptions.shape.quota,
  autoboot: z.boolean().default(true),
  /** `docker:cmd` and `docker:entrypoint` hold JSON lists, `docker:env` a JSON list of NAME=value, as SmartOS has them. */
  internal_metadata: z.record(z.string(), z.string()).default({}),
  tags: z.record(z.string(), z.union([z.string(), z.boolean(), z.number()])).default({}),
});

const words = z.array(z.string());

/** What a workload asks for to get that zone. @throws CloudosError MANIFEST_INVALID with the path of what is wrong */
export function templateOfZone(json: unknown): GuestTemplate {
  const parsed = zoneJson.safeParse(json);
  if (!parsed.success) throw new CloudosError('MANIFEST_INVALID', `zone: ${describeIssues(parsed.error, json)}`);
  const {
    brand,
    image_uuid: image,
    hostname,
    autoboot,
    internal_metadata: metadata,
    tags,
    alias,
    cpu_shares: shares,
    ...caps
  } = parsed.data;
  const asked = amountsOf(caps);
  const entrypoint = listOf(metadata, 'docker:entrypoint');
  const cmd = listOf(metadata, 'docker:cmd');
  const env = (listOf(metadata, 'docker:env') ?? []).map((line) => ({
    name: line.split('=', 1)[0] ?? '',
    value: line.slice(line.indexOf('=') + 1),
  }));
  const known = brands[brand];
  return guestTemplate.parse({
    image: known === 'lx' ? (image ?? '') : 'host:',
    runtime: 'zones',
    ...(entrypoint ? { command: entrypoint } : {}),
    ...(cmd ? { args: cmd } : {}),
    ...(hostname ? { hostname } : {}),
    env,
    // What a zone may use is kept for it, as SmartOS does: nobody is promised the same twice.
    requests: asked,
    limits: asked,
    restart: autoboot ? 'always' : 'never',
    options: { brand: known, ...(shares === undefined ? {} : { cpu_shares: shares }) },
    labels: {
      ...(alias ? { alias } : {}),
      ...Object.fromEntries(Object.entries(tags).map(([k, v]) => [k, String(v)])),
    },
  });
}

export type Caps = Pick<ZoneOptions, 'cpu_cap' | 'max_physical_memory' | 'max_lwps' | 'quota'>;

/** Caps in the terms that all guests share. */
export function amountsOf({ cpu_cap: cpu, max_physical_memory: memory, max_lwps: pids, quota }: Caps): ResourceVector {
  return {
    cpuMillis: (cpu ?? 0) * 10,
    memoryBytes: (memory ?? 0) * mebibyte,
    diskBytes: Math.round((quota ?? 0) * gibibyte),
    pids: pids ?? 0,
  };
}

/** The caps of a zone, by its limits. */
export function capsOf(template: GuestTemplate): Caps {
  const { cpuMillis, memoryBytes, diskBytes, pids } = zoneLimits(template);
  return {
    ...(cpuMillis > 0 ? { cpu_cap: Math.round(cpuMillis / 10) } : {}),
    ...(memoryBytes > 0 ? { max_physical_memory: Math.round(memoryBytes / mebibyte) } : {}),
    ...(diskBytes > 0 ? { quota: diskBytes / gibibyte } : {}),
    ...(pids > 0 ? { max_lwps: pids } : {}),
  };
}

export function listOf(metadata: Readonly<Record<string, string>>, key: string): string[] | undefined {
  const text = metadata[key];
  if (text === undefined) return undefined;
  try {
    return words.parse(JSON.parse(text));
  } catch (error) {
    throw new CloudosError('MANIFEST_INVALID', `zone: internal_metadata.${key}: expected a JSON list of words`, {
      cause: error,
    });
  }
}

/** States of a zone (zones(7)) by those of a guest. */
export function zoneState({ state, exit }: Pick<GuestStatus, 'state' | 'exit'>): string {
  if (state === 'running') return 'running';
  if (state === 'paused') return 'ready';
  return state === 'exited' && exit?.reason === 'lost' ? 'down' : 'installed';
}

/** A zone as `vmadm get` shows it. Limits that it does not have are left out; secrets are never in it. */
export function zoneJsonOf({ instance, template }: GuestSpec, status: GuestStatus): Record<string, unknown> {
  const { cpu_shares: shares } = zoneOptionsOf(template);
  const where = status.address ? { nics: [{ interface: 'net0', ip: status.address.host }] } : {};
  return {
    uuid: instance,
    alias: template.labels.alias ?? instance,
    brand: brandOf(template),
    ...(template.image === 'host:' ? {} : { image_uuid: template.image }),
    state: zoneState(status),
    zone_state: zoneState(status),
    ...(status.pid === undefined ? {} : { pid: status.pid }),
    ...where,
    ...(shares === undefined ? {} : { cpu_shares: shares }),
    ...capsOf(template),
    autoboot: template.restart !== 'never',
  };
}
