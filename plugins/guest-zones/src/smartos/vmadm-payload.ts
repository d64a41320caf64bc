import { type CheckedMount, hostName } from '@cloudos/host-tools';
import { commandLine } from '@cloudos/images';
import { CloudosError, type GuestSpec, type GuestTemplate } from '@cloudos/sdk';
import { z } from 'zod';
import { zoneLimits, zoneOptionsOf } from '../zone-options.ts';
import type { SmartosConfig } from './smartos-config.ts';
import type { ImageManifest } from './vmadm.ts';
import { tags } from './vmadm-record.ts';

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** vmadm(8): `max_swap` cannot be lower. */
const maxSwapMinMebibytes = 256;

/** Brand by the type of an image (proptable.js, `zoneroot_image_types`). Both have a first process for one program. */
const brandOfImage: Readonly<Record<string, 'joyent-minimal' | 'lx'>> = {
  'zone-dataset': 'joyent-minimal',
  'lx-dataset': 'lx',
  docker: 'lx',
};

/** What `imgadm` keeps of the configuration of a Docker image. */
const dockerConfig = z.object({
  Entrypoint: z.array(z.string()).nullish(),
  Cmd: z.array(z.string()).nullish(),
  Env: z.array(z.string()).nullish(),
  WorkingDir: z.string().nullish(),
  User: z.string().nullish(),
});

/** The image of a template by its UUID: as it stands there, or as the configuration translates it. */
export function imageUuidOf({ instance, template }: GuestSpec, { images }: SmartosConfig): string {
  const found = Object.hasOwn(images, template.image) ? images[template.image] : template.image;
  if (found !== undefined && uuidPattern.test(found)) return found;
  throw new CloudosError('IMAGE_NOT_FOUND', `${instance}: SmartOS names images by UUID, not ${template.image}`, {
    remedy: `name the UUID in the configuration: smartos.images["${template.image}"], see imgadm list`,
  });
}

/** Checks what can be said without asking SmartOS. @throws CloudosError GUEST_SPEC_INVALID */
export function checkVmSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string) => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const { diskBytes } = zoneLimits(template);
  if (diskBytes % gibibyte !== 0) refuse(`SmartOS limits disks to whole GiB, not to ${diskBytes} bytes`);
  if (template.readOnlyRoot) refuse('the root of a zone cannot be read-only on SmartOS');
  if (template.env.some((variable) => 'secret' in variable)) {
    refuse('secrets are not passed to zones on SmartOS: it would keep them in the metadata of the zone');
  }
  const { brand } = zoneOptionsOf(template);
  if (brand === 'whole-root') refuse('SmartOS has no whole-root zones');
  if (brand === 'lx' && template.image === 'host:') refuse('an lx zone has an image of its own');
}

/** The limits that vmadm changes while a zone runs ("live update"). 0 and absent are no limit, as vmadm has it. */
export function limitsOf(template: GuestTemplate): Record<string, number> {
  const { cpuMillis, memoryBytes, diskBytes, pids } = zoneLimits(template);
  const { cpu_shares: shares } = zoneOptionsOf(template);
  const memory = Math.floor(memoryBytes / mebibyte);
  return {
    cpu_cap: Math.max(cpuMillis > 0 ? 1 : 0, Math.floor(cpuMillis / 10)),
    ...(shares === undefined ? {} : { cpu_shares: shares }),
    ...(memory > 0 ? { max_physical_memory: memory, max_swap: Math.max(memory, maxSwapMinMebibytes) } : {}),
    ...(pids > 0 ? { max_lwps: pids } : {}),
    quota: diskBytes / gibibyte,
  };
}

export interface PayloadParts {
  readonly uuid: string;
  readonly node: string;
  readonly spec: GuestSpec;
  readonly image: ImageManifest;
  readonly mounts: readonly CheckedMount[];
  readonly address: string | undefined;
  readonly config: SmartosConfig;
  readonly logMaxBytes: number;
}

/**
 * What `vmadm create` takes for a guest: a zone whose first process is the program of the guest, as SmartOS has it for
 * the containers of Docker (`docker`, dockerinit). It does not start by itself, and the zone halts with the program.
 */
export function createPayload(parts: PayloadParts): Record<string, unknown> {
  const { uuid, node, spec, image, mounts, config } = parts;
  const { instance, template } = spec;
  const brand = brandOfImage[image.type];
  if (!brand) {
    throw new CloudosError('IMAGE_UNSUITABLE', `${instance}: the image ${image.uuid} is a ${image.type}`, {
      remedy: `zones take ${Object.keys(brandOfImage).join(', ')}`,
    });
  }
  return {
    uuid,
    alias: template.labels.alias ?? instance.slice(0, 128),
    hostname: template.hostname ?? hostName(instance, 'zone'),
    brand,
    image_uuid: image.uuid,
    docker: true,
    autoboot: false,
    ...(brand === 'lx' ? { kernel_version: textOf(image.tags.kernel_version) ?? config.kernelVersion } : {}),
    ...limitsOf(template),
    ...nicOf(parts),
    ...(mounts.length > 0 ? { filesystems: mounts.map(filesystemOf) } : {}),
    internal_metadata: programOf(spec, image),
    zlog_max_size: parts.logMaxBytes,
    tags: { [tags.node]: node, [tags.instance]: instance },
  };
}

function programOf({ instance, template }: GuestSpec, image: ImageManifest): Record<string, string> {
  const own = dockerConfig.safeParse(jsonOf(image.tags['docker:config'])).data ?? {};
  const command = commandLine(template, { entrypoint: own.Entrypoint ?? [], cmd: own.Cmd ?? [] });
  if (command.length === 0) {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: the image has no program of its own; give a command`);
  }
  const variables = template.env.flatMap((each) => ('value' in each ? [`${each.name}=${each.value}`] : []));
  const directory = template.workingDir ?? (own.WorkingDir || undefined);
  const user = template.user === undefined ? own.User || undefined : String(template.user);
  return {
    'docker:entrypoint': JSON.stringify(command),
    'docker:env': JSON.stringify([...(own.Env ?? []), ...variables]),
    'docker:logdriver': 'json-file',
    'docker:noipmgmtd': 'true',
    ...(directory === undefined ? {} : { 'docker:workdir': directory }),
    ...(user === undefined ? {} : { 'docker:user': user }),
  };
}

function nicOf({ config, address }: PayloadParts): Record<string, unknown> {
  const { network } = config;
  if (!network) return {};
  const prefix = network.subnet.split('/')[1];
  return {
    nics: [
      {
        nic_tag: network.nicTag,
        primary: true,
        ips: [`${address}/${prefix}`],
        ...(network.gateway === undefined ? {} : { gateways: [network.gateway] }),
        ...(network.vlanId === undefined ? {} : { vlan_id: network.vlanId }),
      },
    ],
  };
}

function filesystemOf({ hostPath, target, readOnly }: CheckedMount): Record<string, unknown> {
  return { type: 'lofs', source: hostPath, target, options: [...(readOnly ? ['ro'] : []), 'nodevices'] };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function jsonOf(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}
