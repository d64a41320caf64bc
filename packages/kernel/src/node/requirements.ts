import type { Activation } from '@cloudos/plugin-bus';
import { CloudosError } from '@cloudos/sdk';

/**
 * A plugin of a node may require features of the host (`host.cgroup`): attributes of its inventory.
 * @throws CloudosError PLUGIN_REQUIREMENT naming what is missing
 */
export function checkRequirements(
  { spec }: Pick<Activation<unknown>, 'spec'>,
  host: { offers(feature: string): boolean },
): void {
  const { name, requires = [] } = spec.plugin.definition;
  const missing = requires.filter((each) => each.startsWith('host.') && !host.offers(each.slice('host.'.length)));
  if (missing.length === 0) return;
  const message = `${name} requires ${missing.join(', ')}, which the host does not offer`;
  throw new CloudosError('PLUGIN_REQUIREMENT', message);
}
