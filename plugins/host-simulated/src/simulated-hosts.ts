import { CloudosError, type HostInventory, type ResourceVector } from '@cloudos/sdk';
import { Observable, type Subscriber } from 'rxjs';

/** A simulated machine: it goes on while drivers and kernels come and go. */
interface Machine {
  /** What a test has set; absent: what the driver's configuration says. */
  changed?: Partial<HostInventory>;
  lostBecause?: string;
  readonly watchers: Set<() => void>;
}

/** The simulated machines of one world, as tests handle them. */
export class SimulatedHosts {
  readonly name: string;
  readonly #machines = new Map<string, Machine>();

  constructor(name: string) {
    this.name = name;
  }

  /** The machine dies: its inventory ends with an error, and so does every later one until it is restored. */
  lose(node: string, reason = 'the host is lost'): void {
    const machine = this.#machine(node);
    machine.lostBecause = reason;
    notify(machine);
  }

  /** The machine is back: a driver that asks for its inventory again gets it. */
  restore(node: string): void {
    delete this.#machine(node).lostBecause;
  }

  /** Other capacity from now on (the whole vector). */
  setCapacity(node: string, capacity: ResourceVector): void {
    const machine = this.#machine(node);
    machine.changed = { ...machine.changed, capacity };
    notify(machine);
  }

  /** Other attributes from now on (all of them). */
  setAttributes(node: string, attributes: Readonly<Record<string, string>>): void {
    const machine = this.#machine(node);
    machine.changed = { ...machine.changed, attributes };
    notify(machine);
  }

  /** Every machine is as configured again, and there. */
  reset(): void {
    for (const machine of this.#machines.values()) {
      delete machine.changed;
      delete machine.lostBecause;
      notify(machine);
    }
  }

  /** What the machine has: at once, and again whenever it changes. Ends with RUNTIME_UNAVAILABLE when it is lost. */
  inventory(node: string, configured: HostInventory): Observable<HostInventory> {
    return new Observable((subscriber) => {
      const machine = this.#machine(node);
      const emit = () => report(node, machine, configured, subscriber);
      machine.watchers.add(emit);
      emit();
      return () => machine.watchers.delete(emit);
    });
  }

  #machine(node: string): Machine {
    let machine = this.#machines.get(node);
    if (!machine) {
      machine = { watchers: new Set() };
      this.#machines.set(node, machine);
    }
    return machine;
  }
}

function report(
  node: string,
  machine: Machine,
  configured: HostInventory,
  subscriber: Subscriber<HostInventory>,
): void {
  if (machine.lostBecause === undefined) subscriber.next({ ...configured, ...machine.changed });
  else subscriber.error(new CloudosError('RUNTIME_UNAVAILABLE', `host ${node}: ${machine.lostBecause}`));
}

function notify(machine: Machine): void {
  for (const watcher of [...machine.watchers]) watcher();
}

const registry = Symbol.for('cloudos.host-simulated.worlds');

/** The machines of that world in this process, made on first use. Also shared between copies of this package. */
export function simulatedHosts(name = 'default'): SimulatedHosts {
  const holder = globalThis as { [registry]?: Map<string, SimulatedHosts> };
  holder[registry] ??= new Map();
  let hosts = holder[registry].get(name);
  if (!hosts) {
    hosts = new SimulatedHosts(name);
    holder[registry].set(name, hosts);
  }
  return hosts;
}
