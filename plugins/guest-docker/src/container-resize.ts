import { CloudosError, type GuestLimits, type GuestSpec } from '@cloudos/sdk';
import type { Container } from 'dockerode';
import { changedLimits, checkSpec } from './container-options.ts';
import { fixedBytes } from './container-usage.ts';
import { isRunning } from './container-view.ts';
import { engineError, unlessAbsent } from './engine.ts';

/**
 * What a guest is to be with other limits.
 * @throws CloudosError GUEST_SPEC_INVALID, GUEST_UNSUPPORTED for one that only a new container takes
 */
export function resizedSpec(before: GuestSpec, { limits, options }: GuestLimits): GuestSpec {
  const { instance, template } = before;
  if (template.limits.diskBytes !== limits.diskBytes) {
    throw new CloudosError(
      'GUEST_UNSUPPORTED',
      `${instance}: the disk of a container keeps the limit it was made with`,
      {
        remedy: 'replace the guest by a new one',
      },
    );
  }
  const spec = { ...before, template: { ...template, limits, ...(options === undefined ? {} : { options }) } };
  checkSpec(spec);
  return spec;
}

/**
 * Gives a container that runs the limits of the spec, all or none; one that has ended has no use for them.
 * @throws CloudosError GUEST_STATE when it uses more memory than it is to have
 */
export async function resizeContainer(container: Container, spec: GuestSpec): Promise<void> {
  const { instance, template } = spec;
  const { memoryBytes } = template.limits;
  const refuse = (cause?: unknown) => {
    throw new CloudosError('GUEST_STATE', `${instance} uses more memory than ${memoryBytes} bytes`, {
      cause,
      remedy: 'give it more, or let it give memory back first',
    });
  };
  const runs = async () => isRunning(await unlessAbsent(instance, () => container.inspect()));
  if (!(await runs())) return;
  // In the unified hierarchy what is over a new limit is killed for it; in the old ones the limit is refused.
  if (memoryBytes > 0 && (await fixedBytes(container)) > memoryBytes) refuse();
  try {
    await container.update(changedLimits(spec));
  } catch (error) {
    if (!(await runs())) return;
    if (/device or resource busy|unable to set memory limit/i.test(String(error))) refuse(error);
    throw engineError(error, `limits of ${instance}`);
  }
}
