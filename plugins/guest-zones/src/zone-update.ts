import { CloudosError, describeIssues, type GuestTemplate, guestTemplate } from '@cloudos/sdk';
import { z } from 'zod';
import { amountsOf, capsOf, listOf } from './zone-json.ts';
import { zoneOptions, zoneOptionsOf } from './zone-options.ts';

const { cpu_cap, cpu_shares, max_physical_memory, max_lwps, quota } = zoneOptions.shape;

/** What `vmadm update` takes (vmadm(8), "update: yes"), as far as zones have it here. `null` takes a limit away. */
const zoneUpdate = z.object({
  cpu_cap: cpu_cap.nullable(),
  cpu_shares: cpu_shares.nullable(),
  max_physical_memory: max_physical_memory.nullable(),
  max_lwps: max_lwps.nullable(),
  quota: quota.nullable(),
  hostname: z.string().min(1).max(63).optional(),
  autoboot: z.boolean().optional(),
  set_internal_metadata: z.record(z.string(), z.string()).optional(),
  set_tags: z.record(z.string(), z.union([z.string(), z.boolean(), z.number()])).optional(),
  remove_tags: z.array(z.string()).optional(),
});

/** Properties that a zone has and that are never changed, each with the reason. */
const fixed: Readonly<Record<string, string>> = {
  uuid: 'it is the name of the instance, made with it',
  alias: 'it is the name of the workload: make another zone, and delete this one',
  brand: 'it says what the root of the zone is made of: make another zone',
  image_uuid: 'the root of the zone is made of it: make another zone of the other image',
  state: 'it is what the zone does, not what it shall be',
  zone_state: 'it is what the zone does, not what it shall be',
  pid: 'it is told by the kernel',
  nics: 'the address of a zone is given by the network of its node',
  internal_metadata: 'it is changed by name: set_internal_metadata',
  tags: 'they are changed by name: set_tags, remove_tags',
  ram: 'it is of virtual machines; a zone has max_physical_memory',
  vcpus: 'it is of virtual machines; a zone has cpu_cap',
  max_swap: 'a zone here has no swap beside its memory',
};

/** Properties that the zone takes while it runs ("live update"), where its driver can (`features.resize`). */
export const liveProperties: readonly string[] = ['cpu_cap', 'cpu_shares', 'max_physical_memory', 'max_lwps'];

export interface ZoneChange {
  /** The whole new template, its requests included. */
  readonly template: GuestTemplate;
  /** Names of the properties that are different now. */
  readonly changed: readonly string[];
}

/**
 * What becomes of a zone by an update in the JSON of `vmadm`.
 * @throws CloudosError MANIFEST_INVALID which names what cannot be updated, and why
 */
export function updateOfZone(template: GuestTemplate, json: unknown): ZoneChange {
  const given = typeof json === 'object' && json !== null && !Array.isArray(json) ? Object.keys(json) : undefined;
  if (!given) throw new CloudosError('MANIFEST_INVALID', 'zone: expected an object of properties');
  const refused = given.filter((name) => !(name in zoneUpdate.shape));
  if (refused.length > 0) {
    const why = refused.map((name) => `${name}: ${fixed[name] ?? 'no such property of a zone can be updated'}`);
    throw new CloudosError('MANIFEST_INVALID', `zone: ${why.join('; ')}`, {
      remedy: `What can be updated: ${Object.keys(zoneUpdate.shape).join(', ')}.`,
    });
  }
  const parsed = zoneUpdate.safeParse(json);
  if (!parsed.success) throw new CloudosError('MANIFEST_INVALID', `zone: ${describeIssues(parsed.error, json)}`);
  const { data } = parsed;
  const before = capsOf(template);
  const caps = { ...before };
  for (const name of ['cpu_cap', 'max_physical_memory', 'max_lwps', 'quota'] as const) {
    if (data[name] === null) delete caps[name];
    else if (data[name] !== undefined) caps[name] = data[name];
  }
  const amounts = amountsOf(caps);
  const { brand, cpu_shares: shares } = zoneOptionsOf(template);
  const newShares = data.cpu_shares === null ? undefined : (data.cpu_shares ?? shares);
  const after = guestTemplate.parse({
    ...template,
    requests: amounts,
    limits: amounts,
    options: { ...(brand ? { brand } : {}), ...(newShares === undefined ? {} : { cpu_shares: newShares }) },
    ...(data.hostname === undefined ? {} : { hostname: data.hostname }),
    ...(data.autoboot === undefined ? {} : { restart: data.autoboot ? 'always' : 'never' }),
    ...programOf(data.set_internal_metadata ?? {}),
    labels: labelsOf(template.labels, data.set_tags ?? {}, data.remove_tags ?? []),
  });
  const changed = given.filter((name) => {
    if (name in caps || name in before) return caps[name as keyof typeof caps] !== before[name as keyof typeof caps];
    if (name === 'cpu_shares') return newShares !== shares;
    const parts = partsOf[name] ?? [];
    return parts.some((part) => JSON.stringify(after[part]) !== JSON.stringify(template[part]));
  });
  return { template: after, changed };
}

/** Where a property is found in a template. */
const partsOf: Readonly<Record<string, readonly (keyof GuestTemplate)[]>> = {
  hostname: ['hostname'],
  autoboot: ['restart'],
  set_internal_metadata: ['command', 'args', 'env'],
  set_tags: ['labels'],
  remove_tags: ['labels'],
};

function programOf(metadata: Readonly<Record<string, string>>): Partial<GuestTemplate> {
  const unknown = Object.keys(metadata).filter((name) => !/^docker:(cmd|entrypoint|env)$/.test(name));
  if (unknown.length > 0) {
    throw new CloudosError('MANIFEST_INVALID', `zone: set_internal_metadata.${unknown[0]}: nothing here reads it`);
  }
  const command = listOf(metadata, 'docker:entrypoint');
  const args = listOf(metadata, 'docker:cmd');
  const env = listOf(metadata, 'docker:env')?.map((line) => ({
    name: line.split('=', 1)[0] ?? '',
    value: line.slice(line.indexOf('=') + 1),
  }));
  return { ...(command ? { command } : {}), ...(args ? { args } : {}), ...(env ? { env } : {}) };
}

/** The alias is a label too, and stays. */
function labelsOf(
  labels: Readonly<Record<string, string>>,
  set: Readonly<Record<string, string | boolean | number>>,
  removed: readonly string[],
): Record<string, string> {
  const changed = {
    ...labels,
    ...Object.fromEntries(Object.entries(set).map(([name, value]) => [name, String(value)])),
  };
  for (const name of removed) delete changed[name];
  return labels.alias === undefined ? changed : { ...changed, alias: labels.alias };
}
