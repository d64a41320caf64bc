import { type Clock, type HostCheck, type HostDriver, type HostInventory, type Logger, messageOf } from '@cloudos/sdk';
import { BehaviorSubject, type Observable } from 'rxjs';
import { checkHost } from './host-checks.ts';
import { installedRuntimes } from './host-tools.ts';
import { type KvmState, probeKvm } from './kvm-probe.ts';
import { type LinuxFacts, readLinuxFacts } from './linux-facts.ts';

/** What the host keeps for itself. */
export interface HostReserve {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly pids: number;
}

export interface LinuxHostOptions {
  readonly dataDir: string;
  readonly reserve: HostReserve;
  readonly labels: Readonly<Record<string, string>>;
  readonly pollMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Replaces the reading of this machine, for specs. */
  readonly take?: () => Promise<HostInventory>;
}

/** The machine that this process runs on. */
export class LinuxHost implements HostDriver {
  readonly #options: LinuxHostOptions;
  readonly #inventory: BehaviorSubject<HostInventory>;
  readonly #kvm: KvmState;
  #cancel: () => void = () => {};

  private constructor(options: LinuxHostOptions, kvm: KvmState, first: HostInventory) {
    this.#options = options;
    this.#kvm = kvm;
    this.#inventory = new BehaviorSubject(first);
    this.#poll();
  }

  /** Probes KVM once (it does not change while a machine runs), reads the rest, and goes on reading. */
  static async open(options: LinuxHostOptions): Promise<LinuxHost> {
    const { state } = await probeKvm();
    return new LinuxHost(options, state, await takeInventory(options, state));
  }

  inventory(): Observable<HostInventory> {
    return this.#inventory.asObservable();
  }

  async checks(): Promise<readonly HostCheck[]> {
    const facts = await readLinuxFacts(this.#options);
    return checkHost({ facts, runtimes: await installedRuntimes(), root: process.geteuid?.() === 0 });
  }

  close(): void {
    this.#cancel();
    this.#inventory.complete();
  }

  #poll(): void {
    this.#cancel = this.#options.clock.after(this.#options.pollMs, async () => {
      try {
        const now = await takeInventory(this.#options, this.#kvm);
        if (this.#inventory.closed) return;
        if (JSON.stringify(now) !== JSON.stringify(this.#inventory.value)) this.#inventory.next(now);
      } catch (error) {
        this.#options.logger.warn(`the inventory could not be read: ${messageOf(error)}`);
      }
      if (!this.#inventory.isStopped) this.#poll();
    });
  }
}

async function takeInventory(options: LinuxHostOptions, kvm: KvmState): Promise<HostInventory> {
  if (options.take) return options.take();
  return inventoryOf(await readLinuxFacts(options), await installedRuntimes(), kvm, options);
}

/** Capacity is what there is less the reserve, never below zero. */
export function inventoryOf(
  facts: LinuxFacts,
  runtimes: ReadonlyMap<string, string>,
  kvm: KvmState,
  { reserve, labels }: Pick<LinuxHostOptions, 'reserve' | 'labels'>,
): HostInventory {
  const left = (all: number, kept: number) => Math.max(0, all - kept);
  return {
    capacity: {
      cpuMillis: left(facts.cores * 1000, reserve.cpuMillis),
      memoryBytes: left(facts.memoryBytes, reserve.memoryBytes),
      diskBytes: left(facts.diskBytes, reserve.diskBytes),
      pids: left(facts.pidsMax, reserve.pids),
    },
    attributes: {
      os: facts.os,
      'os.version': facts.osVersion,
      kernel: facts.kernel,
      arch: facts.arch,
      hostname: facts.hostname,
      cgroup: facts.cgroup,
      namespaces: facts.namespaces.join(','),
      kvm,
      user: process.geteuid?.() === 0 ? 'root' : 'ordinary',
      ...Object.fromEntries([...runtimes].map(([name, version]) => [`runtime.${name}`, version])),
      ...labels,
    },
  };
}
