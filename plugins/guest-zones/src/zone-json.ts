import {
  CloudosError,
  describeIssues,
  type GuestSpec,
  type GuestStatus,
  type GuestTemplate,
  guestTemplate,
} from '@cloudos/sdk';
import { z } from 'zod';
import { brandOf, zoneLimits, zoneOptions, zoneOptionsOf } from './zone-options.ts';

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
    ...caps
  } = parsed.data;
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
    requests: {},
    limits: {},
    restart: autoboot ? 'always' : 'never',
    options: { brand: known, ...Object.fromEntries(Object.entries(caps).filter(([, value]) => value !== undefined)) },
    labels: {
      ...(alias ? { alias } : {}),
      ...Object.fromEntries(Object.entries(tags).map(([k, v]) => [k, String(v)])),
    },
  });
}

function listOf(metadata: Readonly<Record<string, string>>, key: string): string[] | undefined {
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
  const limits = zoneLimits(template);
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
    ...(limits.cpuMillis > 0 ? { cpu_cap: Math.round(limits.cpuMillis / 10) } : {}),
    ...(shares === undefined ? {} : { cpu_shares: shares }),
    ...(limits.memoryBytes > 0 ? { max_physical_memory: Math.round(limits.memoryBytes / mebibyte) } : {}),
    ...(limits.diskBytes > 0 ? { quota: limits.diskBytes / gibibyte } : {}),
    ...(limits.pids > 0 ? { max_lwps: limits.pids } : {}),
    autoboot: template.restart !== 'never',
  };
}
