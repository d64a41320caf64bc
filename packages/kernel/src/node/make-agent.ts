import type { PluginSpec } from '@cloudos/plugin-bus';
import type { Clock, Logger } from '@cloudos/sdk';
import type { ClusterFeed } from '../cluster/cluster-feed.ts';
import type { KernelJournal } from '../kernel-journal.ts';
import type { SlotFactory } from '../slot-factory.ts';
import { isFenced, type StreamWriter } from '../stream-writer.ts';
import { GuestRuntime } from './guest-runtime.ts';
import { NodeAgent, type NodeLimits } from './node-agent.ts';

export interface AgentParts {
  readonly name: string;
  readonly host: PluginSpec;
  readonly guests: readonly PluginSpec[];
  readonly slots: SlotFactory;
  readonly feed: ClusterFeed;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly journal: KernelJournal;
  readonly writer: (stream: string, onFailure: (error: unknown) => void) => StreamWriter;
  readonly onFatal: (error: unknown) => void;
  readonly limits: Partial<NodeLimits> | undefined;
  readonly usageAsked: () => boolean;
}

/** The agent of one node with the slots of its host and its guest runtimes. */
export function makeAgent(parts: AgentParts): { agent: NodeAgent; start: () => Promise<void> } {
  const { name, feed, clock, logger, journal, slots, limits, onFatal } = parts;
  const writer = parts.writer(`node-${name}`, (error) => {
    if (!isFenced(error)) return onFatal(error);
    logger.warn(`node ${name} is served by another kernel now`);
    void agent.stop();
  });
  const onLost = (reason: string) => journal.nodeLost(name, reason);
  const agent = new NodeAgent({
    node: name,
    cluster: feed.state,
    level: (position) => feed.level(position),
    writer,
    clock,
    logger,
    onLost,
    usageAsked: parts.usageAsked,
    ...(limits && { limits }),
  });
  const host = slots.make('host', parts.host, agent.hostHooks, name);
  const runtimes = parts.guests.map((spec) => {
    const runtime = new GuestRuntime(agent);
    runtime.fill(slots.make('guest', spec, runtime.hooks, name));
    return runtime;
  });
  return { agent, start: () => agent.start(host, runtimes) };
}
