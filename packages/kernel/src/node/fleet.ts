import { CloudosError, type SharedEvent } from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import type { ClusterFeed } from '../cluster/cluster-feed.ts';
import type { NodeAgent } from './node-agent.ts';

/** Nodes that start or stop at the same time. */
const nodesAtOnce = 64;

/** The nodes of the stack: hands each event of the log to the agent that it concerns. */
export class Fleet {
  readonly #feed: ClusterFeed;
  readonly #agents = new Map<string, NodeAgent>();
  #subscription: Subscription | undefined;

  constructor(feed: ClusterFeed) {
    this.#feed = feed;
  }

  get agents(): ReadonlyMap<string, NodeAgent> {
    return this.#agents;
  }

  /** Starts the agents and follows the log. */
  async start(agents: readonly { agent: NodeAgent; start: () => Promise<void> }[]): Promise<void> {
    for (const { agent } of agents) this.#agents.set(agent.node, agent);
    this.#subscription = this.#feed.changes.subscribe((events) => {
      for (const event of events) this.#dispatch(event);
    });
    for (let from = 0; from < agents.length; from += nodesAtOnce) {
      await Promise.all(agents.slice(from, from + nodesAtOnce).map(({ start }) => start()));
    }
  }

  /** The agent of a node. @throws CloudosError NODE_NOT_FOUND */
  agent(node: string): NodeAgent {
    const agent = this.#agents.get(node);
    if (agent) return agent;
    const known = [...this.#agents.keys()].slice(0, 10).join(', ');
    throw new CloudosError('NODE_NOT_FOUND', `no node ${node} in this stack; there are ${known}`);
  }

  /** The agent that has the instance. @throws CloudosError INSTANCE_NOT_FOUND or GUEST_STATE (not placed yet) */
  agentOf(instance: string): NodeAgent {
    const record = this.#feed.state.instances.get(instance);
    if (!record) throw new CloudosError('INSTANCE_NOT_FOUND', `no instance ${instance} in the cluster`);
    if (record.node === undefined) throw new CloudosError('GUEST_STATE', `instance ${instance} is not placed yet`);
    return this.agent(record.node);
  }

  /** Leaves every guest running. */
  async stop(): Promise<void> {
    this.#subscription?.unsubscribe();
    await this.#each((agent) => agent.stop());
  }

  /** Removes every guest and what the drivers made. */
  async purge(): Promise<void> {
    await this.#each((agent) => agent.purge());
  }

  async #each(work: (agent: NodeAgent) => Promise<void>): Promise<void> {
    const agents = [...this.#agents.values()];
    for (let from = 0; from < agents.length; from += nodesAtOnce) {
      await Promise.all(agents.slice(from, from + nodesAtOnce).map(work));
    }
  }

  #dispatch(event: SharedEvent): void {
    switch (event.type) {
      case 'InstancePlaced':
      case 'InstancePreempted':
        return this.#agents.get(event.data.node)?.notify(event.data.instance);
      case 'InstanceWithdrawn':
      case 'InstanceRestartOrdered': {
        const node = this.#feed.state.instances.get(event.data.instance)?.node;
        if (node !== undefined) this.#agents.get(node)?.notify(event.data.instance);
        return;
      }
      case 'WorkloadChanged':
        for (const name of this.#feed.state.workloads.get(event.data.workload)?.instances ?? []) {
          const instance = this.#feed.state.instances.get(name);
          if (instance?.resize && instance.node !== undefined) this.#agents.get(instance.node)?.notify(name);
        }
        return;
      case 'GuestRemoved':
        return this.#agents.get(event.data.node)?.forget(event.data.instance);
      case 'NodeLost':
        for (const name of this.#feed.state.nodes.get(event.data.node)?.instances ?? []) {
          this.#agents.get(event.data.node)?.notify(name);
        }
        return;
    }
  }
}
