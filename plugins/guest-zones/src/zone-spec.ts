import type { ControlGroups } from '@cloudos/host-tools';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';
import { diskLimitMinBytes } from './zone-disk.ts';
import { brandOf, zoneLimits } from './zone-options.ts';

/** Less than this does not suffice for the zone's first process and a shell. */
export const memoryLimitMinBytes = 6 * 1024 * 1024;

/** Checks what a zone is asked to be. @throws CloudosError GUEST_SPEC_INVALID */
export function checkZoneSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string) => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const limits = zoneLimits(template);
  const command = commandOf({ template });
  const first = command[0];
  if (template.image === 'host:' && !first) refuse('the image host: has no program of its own; give a command');
  else if (first !== undefined && (first.includes('=') || first.startsWith('-')))
    refuse(`a command cannot be called ${first}`);
  const { memoryBytes, diskBytes } = limits;
  if (memoryBytes > 0 && memoryBytes < memoryLimitMinBytes) {
    refuse(`a memory limit of ${memoryBytes} bytes is too small; the least is ${memoryLimitMinBytes}`);
  }
  if (diskBytes > 0 && diskBytes < diskLimitMinBytes) {
    refuse(`a disk limit of ${diskBytes} bytes is too small; the least is ${diskLimitMinBytes}`);
  }
  if (template.workingDir !== undefined && !template.workingDir.startsWith('/')) {
    refuse(`the working directory ${template.workingDir} is not an absolute path`);
  }
  for (const { name } of template.env) {
    if (name.includes('=') || name.startsWith('-')) refuse(`an environment variable cannot be called ${name}`);
  }
  const texts = [
    ...command,
    template.workingDir ?? '',
    ...template.env.flatMap((variable) => [variable.name, 'value' in variable ? variable.value : '']),
  ];
  if (texts.some((text) => text.includes('\0'))) refuse('a command or a variable contains a NUL character');
}

/** What other limits a zone can take while it is there. @throws CloudosError GUEST_SPEC_INVALID, GUEST_UNSUPPORTED */
export function checkResize(before: GuestSpec, after: GuestSpec, { groups }: { groups: ControlGroups }): void {
  const { instance } = before;
  if (brandOf(before.template) !== brandOf(after.template)) {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: the brand of a zone is not one of its limits`);
  }
  const [old, limits] = [zoneLimits(before.template), zoneLimits(after.template)];
  const unable = (what: string) => {
    throw new CloudosError('GUEST_UNSUPPORTED', `${instance}: ${what}`, { remedy: 'replace the zone by a new one' });
  };
  if (groups.layout.version === 'none') unable('there are no control groups here, and so no limits to change');
  if (old.diskBytes !== limits.diskBytes) unable('the disk of a zone is made with it, and keeps its size (quota)');
  if (old.pids !== limits.pids && !groups.holds('pids')) {
    unable('here processes are limited when they begin, without a control group (max_lwps)');
  }
}

export function commandOf({ template }: Pick<GuestSpec, 'template'>): readonly string[] {
  return [...(template.command ?? []), ...(template.args ?? [])];
}
