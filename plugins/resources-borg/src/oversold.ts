import { type Cluster, describeAmount, lineage, type Quota, width } from '@cloudos/placement';
import { type ResourceBounds, type ResourcesCommand, refuse } from '@cloudos/sdk';
import { bands, productionBand } from './bands.ts';

const named = ['cpuMillis', 'memoryBytes', 'diskBytes', 'pids'] as const;
const names = ['cpu', 'memory', 'disk', 'pids'] as const;

/**
 * Production quota is limited to what the cell has, lower priorities may be oversold (Borg, EuroSys 2015, section 2.5).
 * Counted are quotas for production alone, and of those below each other the upper one.
 * @returns the refusal of a command that would sell too much
 */
export function refuseOversold({ owners, nodes }: Cluster, command: ResourcesCommand) {
  if (command.type !== 'SetQuota' || nodes.count === 0 || !isProduction(command.priority?.from)) return undefined;
  const others = owners.quotas.filter(
    ({ owner, priority, said }) =>
      isProduction(priority.from) &&
      (owner !== command.owner || JSON.stringify(said.priority) !== JSON.stringify(command.priority)),
  );
  const all: Pick<Quota, 'owner' | 'limit'>[] = [...others, command];
  const topmost = all.filter(
    ({ owner }) => !all.some((other) => other.owner !== owner && lineage(owner).includes(other.owner)),
  );
  for (const [dimension, key] of named.entries()) {
    const sold = topmost.reduce((sum, { limit }) => sum + amountOf(limit, key), 0);
    let there = 0;
    for (let slot = 0; slot < nodes.count; slot++) {
      if (nodes.facts[slot]!.state !== 'left') there += nodes.capacity[slot * width + dimension]!;
    }
    if (command.limit[key] === undefined || sold <= there) continue;
    const name = names[dimension]!;
    const [given, most] = [describeAmount(name, sold), describeAmount(name, there)];
    return refuse(
      'COMMAND_REFUSED',
      `production quota of ${given} ${name} is more than the ${most} that there is`,
      'Give less, or quota at a lower priority.',
    );
  }
  return undefined;
}

function isProduction(from: number | undefined): boolean {
  return from !== undefined && from >= bands[productionBand]!.from;
}

function amountOf(limit: ResourceBounds, key: (typeof named)[number]): number {
  return limit[key] ?? 0;
}
