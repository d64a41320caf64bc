import { CloudosError, describeIssues, type GuestTemplate, type ResourceVector } from '@cloudos/sdk';
import { z } from 'zod';

/**
 * How a zone gets its userland. `sparse`: the host's programs, read-only. `whole-root`: the host's programs, as a copy of
 * the zone's own that it may change. `lx`: another Linux, from an OCI image.
 */
export const zoneBrands = ['sparse', 'whole-root', 'lx'] as const;
export type ZoneBrand = (typeof zoneBrands)[number];

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

/** `options` of a template for zones: in the terms of SmartOS (vmadm(8)), where those say more than a template does. */
export const zoneOptions = z.strictObject({
  brand: z.enum(zoneBrands).optional(),
  /** Percent of one core. */
  cpu_cap: z.int().min(1).max(1_000_000).optional(),
  /** Relative to other zones: 1 to 65535. */
  cpu_shares: z.int().min(1).max(65_535).optional(),
  /** MiB. */
  max_physical_memory: z.int().positive().optional(),
  /** GiB of disk. */
  quota: z.number().positive().optional(),
  /** Light-weight processes: threads. */
  max_lwps: z.int().positive().optional(),
});
export type ZoneOptions = z.infer<typeof zoneOptions>;

/** @throws CloudosError GUEST_SPEC_INVALID with the path of what is wrong */
export function zoneOptionsOf(template: GuestTemplate): ZoneOptions {
  const parsed = zoneOptions.safeParse(template.options ?? {});
  if (parsed.success) return parsed.data;
  throw new CloudosError('GUEST_SPEC_INVALID', `options of a zone: ${describeIssues(parsed.error, template.options)}`);
}

/** The limits of a zone: the narrower of what the template and the options say. */
export function zoneLimits(template: GuestTemplate): ResourceVector {
  const options = zoneOptionsOf(template);
  const narrower = (one: number, other: number | undefined) =>
    other === undefined ? one : one === 0 ? other : Math.min(one, other);
  const { limits } = template;
  const of = (value: number | undefined, unit: number) => (value === undefined ? undefined : Math.round(value * unit));
  return {
    ...limits,
    cpuMillis: narrower(limits.cpuMillis, of(options.cpu_cap, 10)),
    memoryBytes: narrower(limits.memoryBytes, of(options.max_physical_memory, mebibyte)),
    diskBytes: narrower(limits.diskBytes, of(options.quota, gibibyte)),
    pids: narrower(limits.pids, options.max_lwps),
  };
}

/** What the zone gets of a processor that others want too: its requests, or the shares of the options. */
export function zoneRequests(template: GuestTemplate): ResourceVector {
  const { cpu_shares: shares } = zoneOptionsOf(template);
  return shares === undefined ? template.requests : { ...template.requests, cpuMillis: (shares * 1000) / 1024 };
}

export function brandOf(template: GuestTemplate): ZoneBrand {
  return zoneOptionsOf(template).brand ?? (template.image === 'host:' ? 'sparse' : 'lx');
}
