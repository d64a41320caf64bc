import type { PlacementRuleConfig, YarnConfig } from '../config.ts';
import type { Queue } from './queue.ts';
import { pathOf, type QueueTree } from './queue-tree.ts';

/** What a placement rule looks at. */
export interface Submission {
  readonly owner: string | undefined;
  readonly user: string;
}

/**
 * Which queue an application goes to: the first rule that gives one decides. Hadoop documentation, "Fair Scheduler",
 * queuePlacementPolicy. The owner of a workload is the queue that it specifies.
 * @returns the queue, or why there is none, in words
 */
export function queueFor(tree: QueueTree, config: YarnConfig, submission: Submission): Queue | string {
  for (const rule of config.placementRules) {
    if (rule.rule === 'reject') return 'the placement rules reject it';
    const path = pathFor(tree, config, rule, submission);
    if (path === undefined) continue;
    const queue = rule.create ? tree.make(path) : tree.get(path);
    if (!queue) continue;
    if (!queue.isLeaf) {
      // a queue with children takes no applications itself
      if (rule.rule === 'specified' || rule.rule === 'user') continue;
      return `queue ${path} has queues below it: applications go to those`;
    }
    return queue;
  }
  return 'no placement rule gives it a queue';
}

function pathFor(
  tree: QueueTree,
  config: YarnConfig,
  { rule, queue, nested }: PlacementRuleConfig,
  submission: Submission,
): string | undefined {
  const { owner, user } = submission;
  const [primary, ...secondary] = config.groups[user] ?? [];
  switch (rule) {
    case 'specified':
      return owner === undefined ? undefined : pathOf(owner);
    case 'user':
      return pathOf(nameOf(user));
    case 'primaryGroup':
      return primary === undefined ? undefined : pathOf(nameOf(primary));
    case 'secondaryGroupExistingQueue':
      return secondary.map((group) => pathOf(nameOf(group))).find((path) => tree.get(path) !== undefined);
    case 'nestedUserQueue': {
      const parent = pathFor(tree, config, { rule: nested, create: true, queue, nested: 'default' }, submission);
      return parent === undefined ? undefined : `${parent}.${nameOf(user)}`;
    }
    default:
      return queue;
  }
}

/** A name as part of a path: dots and slashes would part it. */
function nameOf(name: string): string {
  return name.replaceAll(/[./\s]/g, '_');
}
