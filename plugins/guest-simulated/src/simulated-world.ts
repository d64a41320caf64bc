import type { ExitReason, GuestExit, GuestSpec, GuestState } from '@cloudos/sdk';
import { BehaviorSubject, Subject } from 'rxjs';
import { endless, type PrintedLine, type Program } from './simulated-program.ts';

/** A guest in a world. Kept small: a hundred thousand fit into one process. */
export interface SimulatedGuest {
  spec: GuestSpec;
  readonly runtime: string;
  /** Unique in the world and beyond any pid of a real machine. */
  pid: number;
  state: GuestState;
  attempt: number;
  program: Program;
  /** Epoch milliseconds of the last start. */
  startedAt: number;
  removed: boolean;
  exit?: GuestExit;
  /** An operation that takes time is under way: the next one waits for it. */
  busy?: Promise<void>;
  /** Takes back the timer of the program's own end. */
  cancelEnd?: () => void;
  lines?: PrintedLine[];
  /** Called when a line was printed or the guest changed. */
  watchers?: Set<() => void>;
  /** What a snapshot saves: set by tests and by `set <key> <value>` in the guest. */
  memory?: Map<string, string>;
  /** A test's verdict instead of the program's. */
  ready?: boolean;
}

/** One node of a world: it goes on while drivers and kernels come and go. */
export class SimulatedNode {
  readonly id: string;
  readonly guests = new Map<string, SimulatedGuest>();
  readonly snapshots = new Map<string, ReadonlyMap<string, string>>();
  readonly exits = new Subject<GuestExit & { readonly runtime: string }>();
  /** Why the node cannot run guests at present; undefined when it can. */
  readonly outage = new BehaviorSubject<string | undefined>(undefined);

  constructor(id: string) {
    this.id = id;
  }
}

/** How often each operation changed the world. Repeated calls that found their work done do not count. */
export interface OperationCounts {
  created: number;
  started: number;
  stopped: number;
  removed: number;
}

/** The first pid: one past the highest that Linux gives out, so that none names a real process. */
export const firstPid = 4_194_305;

/** How many lines a guest keeps; older ones are dropped. */
export const linesMax = 1_000;

/**
 * What simulated drivers act on. It lives outside of them, so that guests survive drivers and kernels of the same
 * process, as real guests survive a crash of theirs.
 */
export class SimulatedWorld {
  readonly name: string;
  readonly operations: OperationCounts = { created: 0, started: 0, stopped: 0, removed: 0 };
  readonly #nodes = new Map<string, SimulatedNode>();
  #nextPid = firstPid;

  constructor(name: string) {
    this.name = name;
  }

  node(id: string): SimulatedNode {
    let node = this.#nodes.get(id);
    if (!node) {
      node = new SimulatedNode(id);
      this.#nodes.set(id, node);
    }
    return node;
  }

  nodes(): readonly string[] {
    return [...this.#nodes.keys()];
  }

  /** Every guest, or those of one node. */
  guests(node?: string): readonly SimulatedGuest[] {
    const nodes = node === undefined ? [...this.#nodes.values()] : [this.node(node)];
    return nodes.flatMap((each) => [...each.guests.values()]);
  }

  /** The guest of that name, wherever it is. */
  guest(instance: string): SimulatedGuest | undefined {
    for (const node of this.#nodes.values()) {
      const guest = node.guests.get(instance);
      if (guest) return guest;
    }
    return undefined;
  }

  /** Ends the run of a guest from outside, as a crash or an operator's kill would. False when it does not run. */
  kill(
    instance: string,
    end: { exitCode?: number | null; signal?: string | null; reason?: ExitReason; message?: string } = {},
  ): boolean {
    const guest = this.guest(instance);
    if (!guest || (guest.state !== 'running' && guest.state !== 'paused')) return false;
    this.end(guest, {
      exitCode: end.exitCode ?? null,
      signal: end.signal === undefined ? 'SIGKILL' : end.signal,
      reason: end.reason ?? 'signalled',
      ...(end.message === undefined ? {} : { message: end.message }),
    });
    return true;
  }

  /** What probes of the guest find from now on; undefined leaves it to the program again. */
  setReady(instance: string, ready: boolean | undefined): void {
    const guest = this.guest(instance);
    if (!guest) return;
    if (ready === undefined) delete guest.ready;
    else guest.ready = ready;
  }

  /** The node dies with everything on it. Its drivers answer RUNTIME_UNAVAILABLE; nobody is told of the exits. */
  loseNode(id: string, reason = 'the node is lost'): void {
    const node = this.node(id);
    for (const guest of [...node.guests.values()]) this.forget(node, guest);
    node.outage.next(reason);
  }

  /** The node is back, and empty. */
  restoreNode(id: string): void {
    this.node(id).outage.next(undefined);
  }

  /** The runtime stops or begins to work on the node; guests that run go on. */
  setOutage(id: string, reason: string | undefined): void {
    this.node(id).outage.next(reason);
  }

  /** Removes everything. Drivers that are open go on with an empty world. */
  reset(): void {
    for (const node of this.#nodes.values()) {
      for (const guest of [...node.guests.values()]) this.forget(node, guest);
      node.snapshots.clear();
      if (node.outage.value !== undefined) node.outage.next(undefined);
    }
    this.#nextPid = firstPid;
    Object.assign(this.operations, { created: 0, started: 0, stopped: 0, removed: 0 });
  }

  add(spec: GuestSpec, runtime: string): SimulatedGuest {
    const guest: SimulatedGuest = {
      spec,
      runtime,
      pid: 0,
      state: 'created',
      attempt: 0,
      program: endless,
      startedAt: 0,
      removed: false,
    };
    this.node(spec.node).guests.set(spec.instance, guest);
    this.operations.created++;
    return guest;
  }

  begin(guest: SimulatedGuest, attempt: number, program: Program, now: number): void {
    guest.state = 'running';
    guest.attempt = attempt;
    guest.pid = this.#nextPid++;
    guest.program = program;
    guest.startedAt = now;
    delete guest.exit;
    for (const line of program.prints) this.print(guest, line);
    this.operations.started++;
    changed(guest);
  }

  end(guest: SimulatedGuest, end: Omit<GuestExit, 'instance' | 'attempt'>): GuestExit {
    guest.cancelEnd?.();
    delete guest.cancelEnd;
    const exit: GuestExit = { instance: guest.spec.instance, attempt: guest.attempt, ...end };
    guest.state = 'exited';
    guest.exit = exit;
    changed(guest);
    this.node(guest.spec.node).exits.next({ ...exit, runtime: guest.runtime });
    return exit;
  }

  forget(node: SimulatedNode, guest: SimulatedGuest): void {
    guest.cancelEnd?.();
    delete guest.cancelEnd;
    guest.removed = true;
    if (guest.state !== 'created') guest.state = 'exited';
    node.guests.delete(guest.spec.instance);
    changed(guest);
  }

  print(guest: SimulatedGuest, line: PrintedLine): void {
    guest.lines ??= [];
    guest.lines.push(line);
    if (guest.lines.length > linesMax) guest.lines.shift();
    changed(guest);
  }
}

function changed(guest: SimulatedGuest): void {
  if (guest.watchers) for (const watcher of [...guest.watchers]) watcher();
}

const registry = Symbol.for('cloudos.guest-simulated.worlds');

/** The world of that name in this process, made on first use. Also shared between copies of this package. */
export function simulatedWorld(name = 'default'): SimulatedWorld {
  const holder = globalThis as { [registry]?: Map<string, SimulatedWorld> };
  holder[registry] ??= new Map();
  const worlds = holder[registry];
  let world = worlds.get(name);
  if (!world) {
    world = new SimulatedWorld(name);
    worlds.set(name, world);
  }
  return world;
}
