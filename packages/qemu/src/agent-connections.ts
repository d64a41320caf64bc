import { join } from 'node:path';
import { AgentConnection } from './agent-connection.ts';
import type { Vm } from './vm-flavour.ts';
import { machineDir } from './vm-state.ts';

/** How long a connection that nothing uses is kept. */
const idleMaxMs = 2_000;

/** The connections to the agents of a node's guests: at most one for each, closed again when it is not used. */
export class AgentConnections {
  readonly #open = new Map<string, Promise<AgentConnection>>();

  /** @throws CloudosError GUEST_UNRESPONSIVE */
  to(vm: Pick<Vm, 'name' | 'directory'>): Promise<AgentConnection> {
    const known = this.#open.get(vm.name);
    if (known) {
      return known.then((agent) => {
        if (!agent.closed) return agent;
        this.#forget(vm.name, known);
        return this.to(vm);
      });
    }
    const opening = AgentConnection.open(join(vm.directory, machineDir, 'agent'));
    this.#open.set(vm.name, opening);
    opening.then(
      (agent) => this.#closeWhenIdle(vm.name, opening, agent),
      () => this.#forget(vm.name, opening),
    );
    return opening;
  }

  /** Closes that of a guest. */
  close(name: string): void {
    this.#open.get(name)?.then(
      (agent) => agent.close(),
      () => {},
    );
    this.#open.delete(name);
  }

  closeAll(): void {
    for (const name of [...this.#open.keys()]) this.close(name);
  }

  #forget(name: string, opening: Promise<AgentConnection>): void {
    if (this.#open.get(name) === opening) this.#open.delete(name);
  }

  #closeWhenIdle(name: string, opening: Promise<AgentConnection>, agent: AgentConnection): void {
    const timer = setTimeout(() => {
      if (agent.closed) return this.#forget(name, opening);
      if (agent.channels > 0) return this.#closeWhenIdle(name, opening, agent);
      this.#forget(name, opening);
      agent.close();
    }, idleMaxMs);
    timer.unref();
  }
}
