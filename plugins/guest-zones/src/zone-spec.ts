import { CloudosError, type GuestSpec } from '@cloudos/sdk';

/** Less than this does not suffice for the zone's first process and a shell. */
export const memoryLimitMinBytes = 6 * 1024 * 1024;

/** Checks what a zone is asked to be. @throws CloudosError IMAGE_NOT_FOUND, GUEST_SPEC_INVALID */
export function checkZoneSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string) => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  if (template.image !== 'host:') {
    throw new CloudosError(
      'IMAGE_NOT_FOUND',
      `${instance}: zones know the image host: and were given ${template.image}`,
      {
        remedy: 'use host:, the userland of the host, or ask for another runtime',
      },
    );
  }
  if ((template.mounts ?? []).length > 0) refuse('zones have no mounts');
  const command = commandOf({ template });
  const first = command[0];
  if (first === undefined || first === '') refuse('the image host: has no program of its own; give a command');
  else if (first.includes('=') || first.startsWith('-')) refuse(`a command cannot be called ${first}`);
  const { memoryBytes } = template.limits;
  if (memoryBytes > 0 && memoryBytes < memoryLimitMinBytes) {
    refuse(`a memory limit of ${memoryBytes} bytes is too small; the least is ${memoryLimitMinBytes}`);
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

export function commandOf({ template }: Pick<GuestSpec, 'template'>): readonly string[] {
  return [...(template.command ?? []), ...(template.args ?? [])];
}
