import type { Policy, ResourcesCommand } from '@cloudos/sdk';
import { decideYarnCommand } from './commands.ts';
import type { YarnConfig } from './config.ts';
import { decideYarn } from './round/yarn-round.ts';
import { yarnSnapshot } from './snapshot.ts';
import { YarnState } from './yarn-state.ts';

/**
 * Hierarchical queues after Apache Hadoop YARN 3.4: the capacity scheduler, with the fair scheduler's ways of taking
 * turns where a queue is configured so.
 * @throws CloudosError PLUGIN_CONFIG_INVALID when the queues do not fit together
 */
export function yarnPolicy(config: YarnConfig): Policy<YarnState, ResourcesCommand> {
  new YarnState(config); // queues that do not fit together are refused before anything starts
  return {
    initial: () => new YarnState(config),
    evolve(state, event) {
      state.apply(event);
      return state;
    },
    react: (state, _events, now) => decideYarn(state, now),
    decide: (state, command, now) => decideYarnCommand(state, command, now),
    snapshot: yarnSnapshot,
  };
}
