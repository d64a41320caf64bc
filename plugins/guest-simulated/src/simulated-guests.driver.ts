import {
  type Clock,
  CloudosError,
  delay,
  type ErrorCode,
  type ExecRequest,
  type ExecSession,
  type GuestDriver,
  type GuestExit,
  type GuestFingerprint,
  type GuestLimits,
  type GuestSnapshot,
  type GuestSpec,
  type GuestStats,
  type GuestStatus,
  type LogRequest,
  type OutputChunk,
  type ProbeResult,
  refuseContainers,
} from '@cloudos/sdk';
import { filter, map, type Observable, takeUntil } from 'rxjs';
import { executeIn, variablesOf } from './simulated-exec.ts';
import { followLines } from './simulated-logs.ts';
import { type Program, readProgram } from './simulated-program.ts';
import type { SimulatedGuest, SimulatedNode, SimulatedWorld } from './simulated-world.ts';

/** How the simulated runtime behaves. Chances are from 0 to 1, decided by seed, instance and attempt alone. */
export interface SimulatedGuestsOptions {
  readonly runtime: string;
  readonly startDelayMs: number;
  readonly stopDelayMs: number;
  readonly readyDelayMs: number;
  readonly guestsMax: number;
  readonly createFailureRate: number;
  readonly startFailureRate: number;
  readonly crashRate: number;
  readonly crashAfterMs: number;
  readonly seed: number;
}

/** Guests that exist only in this process. Without delays configured, no operation takes a timer. */
export class SimulatedGuests implements GuestDriver {
  readonly exits: Observable<GuestExit>;
  readonly #world: SimulatedWorld;
  readonly #node: SimulatedNode;
  readonly #clock: Clock;
  readonly #options: SimulatedGuestsOptions;
  #createTries = 0;

  /** @param detached emits when the driver is closed: exits are not reported any more, guests stay */
  constructor(
    world: SimulatedWorld,
    node: string,
    clock: Clock,
    options: SimulatedGuestsOptions,
    detached: Observable<unknown>,
  ) {
    this.#world = world;
    this.#node = world.node(node);
    this.#clock = clock;
    this.#options = options;
    this.exits = this.#node.exits.pipe(
      filter((exit) => exit.runtime === options.runtime),
      map(({ runtime: _, ...exit }) => exit),
      takeUntil(detached),
    );
  }

  fingerprint(): Observable<GuestFingerprint> {
    const { runtime } = this.#options;
    return this.#node.outage.pipe(
      map((reason) =>
        reason === undefined
          ? {
              available: true,
              runtime,
              version: '1.0.0',
              features: { simulated: true, pause: true, resize: true, snapshot: true },
              warnings: [],
            }
          : { available: false, runtime, reason, remedy: 'restore the node of the simulated world' },
      ),
    );
  }

  async create(spec: GuestSpec): Promise<GuestStatus> {
    this.#assertUp();
    const existing = this.#node.guests.get(spec.instance);
    if (existing) return this.#status(existing);
    refuseContainers(spec, 'simulated machines');
    const { image, mounts = [], env } = spec.template;
    if (mounts.length > 0 || env.some((variable) => 'secret' in variable)) {
      throw this.#error('GUEST_SPEC_INVALID', spec.instance, 'simulated guests have neither mounts nor secrets');
    }
    if (image.startsWith('missing:') || image.startsWith('registry.invalid/')) {
      throw this.#error('IMAGE_NOT_FOUND', spec.instance, `image ${JSON.stringify(image)} does not exist`);
    }
    if (this.#node.guests.size >= this.#options.guestsMax) {
      throw this.#error(
        'ADDRESSES_EXHAUSTED',
        spec.instance,
        `the node holds ${this.#options.guestsMax} guests already`,
      );
    }
    if (this.#draws('create', spec.instance, ++this.#createTries, this.#options.createFailureRate)) {
      throw this.#error('HOST_COMMAND_FAILED', spec.instance, 'creating failed, as the configured rate has it');
    }
    return this.#status(this.#world.add(spec, this.#options.runtime));
  }

  async start(instance: string, attempt: number): Promise<GuestStatus> {
    let guest = this.#get(instance);
    if (guest.busy) guest = await this.#settled(guest);
    if (guest.state === 'running' || guest.state === 'paused') {
      if (guest.attempt === attempt) return this.#status(guest);
      throw this.#error('GUEST_STATE', instance, `expected it not to run, but attempt ${guest.attempt} does`);
    }
    if (guest.exit && guest.attempt === attempt) return this.#status(guest);
    if (attempt < guest.attempt) {
      throw this.#error('GUEST_STATE', instance, `attempt ${guest.attempt} has run already, given ${attempt}`);
    }
    if (this.#options.startDelayMs > 0) await this.#take(guest, this.#options.startDelayMs);
    const program = this.#programOf(guest);
    if (this.#draws('start', instance, attempt, this.#options.startFailureRate)) {
      throw this.#error('GUEST_START_FAILED', instance, 'starting failed, as the configured rate has it');
    }
    this.#world.begin(guest, attempt, program, this.#clock.now());
    this.#scheduleEnd(guest);
    return this.#status(guest);
  }

  #programOf(guest: SimulatedGuest): Program {
    const { instance, template } = guest.spec;
    const { command, args = [], env, workingDir, limits } = template;
    const words = command ? [...command, ...args] : args;
    const variables = env.length > 0 ? variablesOf(guest) : {};
    const program = readProgram(words, { hostname: instance, variables, workingDir, limits });
    if (program.missing !== undefined) {
      throw this.#error('COMMAND_NOT_FOUND', instance, `no command ${JSON.stringify(program.missing)} in the image`);
    }
    if (program.failsToStart !== undefined) throw this.#error('GUEST_START_FAILED', instance, program.failsToStart);
    return program;
  }

  async stop(instance: string, graceMs: number): Promise<GuestExit | undefined> {
    let guest = this.#get(instance);
    if (guest.busy) guest = await this.#settled(guest);
    if (guest.state !== 'running' && guest.state !== 'paused') return undefined;
    const takesMs = guest.program.stubborn ? Number.POSITIVE_INFINITY : this.#options.stopDelayMs;
    const killed = takesMs > graceMs;
    const waitMs = Math.min(takesMs, graceMs);
    if (waitMs > 0) await this.#take(guest, waitMs);
    if (guest.state !== 'running' && guest.state !== 'paused') return guest.exit;
    this.#world.operations.stopped++;
    return this.#world.end(guest, { exitCode: null, signal: killed ? 'SIGKILL' : 'SIGTERM', reason: 'stopped' });
  }

  async remove(instance: string): Promise<void> {
    this.#assertUp();
    const guest = this.#node.guests.get(instance);
    if (!guest || guest.runtime !== this.#options.runtime) return;
    if (guest.state === 'running' || guest.state === 'paused') {
      this.#world.end(guest, { exitCode: null, signal: 'SIGKILL', reason: 'stopped' });
    }
    this.#world.forget(this.#node, guest);
    for (const key of this.#node.snapshots.keys()) {
      if (key.startsWith(`${instance}\0`)) this.#node.snapshots.delete(key);
    }
    this.#world.operations.removed++;
  }

  async list(): Promise<readonly GuestStatus[]> {
    this.#assertUp();
    return this.#mine().map((guest) => this.#status(guest));
  }

  async adopt(handle: unknown): Promise<GuestStatus> {
    const { guest } = (handle ?? {}) as { guest?: unknown };
    if (typeof guest !== 'string') {
      throw this.#error('GUEST_NOT_FOUND', '(unnamed)', `expected a handle { guest }, given ${JSON.stringify(handle)}`);
    }
    return this.#status(this.#get(guest));
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const guest = this.#get(instance);
    if (guest.state !== 'running') throw this.#error('GUEST_STATE', instance, `expected running, it is ${guest.state}`);
    return executeIn(guest, request, this.#clock);
  }

  async *logs(instance: string, request: LogRequest): AsyncGenerator<OutputChunk> {
    if (request.since !== undefined) throw this.#error('GUEST_UNSUPPORTED', instance, 'what it printed has no times');
    yield* followLines(() => this.#get(instance), request);
  }

  /** Plausible, repeatable figures: half of the requested memory, a tenth of the requested cores unless it burns. */
  async stats(instance: string): Promise<GuestStats> {
    const guest = this.#get(instance);
    if (guest.state !== 'running' && guest.state !== 'paused') {
      throw this.#error('GUEST_STATE', instance, `expected running, it is ${guest.state}`);
    }
    const { requests, limits } = guest.spec.template;
    const cpuMillis = guest.program.burnsCpu ? limits.cpuMillis || 1_000 : requests.cpuMillis / 10;
    const used = Math.round(requests.memoryBytes / 2) || 65_536;
    const ranMs = this.#clock.now() - guest.startedAt;
    const pids = guest.program.processes ?? 1;
    return { cpuNanos: Math.round(ranMs * cpuMillis * 1_000), memoryBytes: used, memoryPeakBytes: used, pids };
  }

  /** Ready when it has run for readyDelayMs, unless the program or the test says otherwise. */
  async probe(instance: string): Promise<ProbeResult> {
    const guest = this.#get(instance);
    if (guest.state !== 'running') return { ok: false, message: `the guest is ${guest.state}` };
    const ranMs = this.#clock.now() - guest.startedAt;
    const ok = guest.ready ?? (!guest.program.neverReady && ranMs >= this.#options.readyDelayMs);
    return { ok, message: ok ? 'ready' : `not ready after ${ranMs} ms` };
  }

  async pause(instance: string): Promise<void> {
    const guest = this.#get(instance);
    if (guest.state === 'paused') return;
    if (guest.state !== 'running') throw this.#error('GUEST_STATE', instance, `expected running, it is ${guest.state}`);
    guest.cancelEnd?.();
    delete guest.cancelEnd;
    guest.state = 'paused';
  }

  /** The time that the program has left starts anew. */
  async resume(instance: string): Promise<void> {
    const guest = this.#get(instance);
    if (guest.state === 'running') return;
    if (guest.state !== 'paused') throw this.#error('GUEST_STATE', instance, `expected paused, it is ${guest.state}`);
    guest.state = 'running';
    this.#scheduleEnd(guest);
  }

  async resize(instance: string, limits: GuestLimits): Promise<GuestStatus> {
    const guest = this.#get(instance);
    guest.spec = { ...guest.spec, template: { ...guest.spec.template, ...limits } };
    return this.#status(guest);
  }

  async snapshot(instance: string, name: string): Promise<GuestSnapshot> {
    const memory = new Map(this.#get(instance).memory);
    this.#node.snapshots.set(`${instance}\0${name}`, memory);
    return {
      name,
      memory: true,
      sizeBytes: [...memory].reduce((sum, [key, value]) => sum + key.length + value.length, 0),
    };
  }

  async restore(instance: string, name: string): Promise<GuestStatus> {
    const guest = this.#get(instance);
    const saved = this.#node.snapshots.get(`${instance}\0${name}`);
    if (!saved) throw this.#error('SNAPSHOT_NOT_FOUND', instance, `it has no snapshot ${JSON.stringify(name)}`);
    guest.memory = new Map(saved);
    return this.#status(guest);
  }

  async purge(): Promise<void> {
    for (const guest of this.#mine()) await this.remove(guest.spec.instance);
  }

  #mine(): SimulatedGuest[] {
    return [...this.#node.guests.values()].filter((guest) => guest.runtime === this.#options.runtime);
  }

  #get(instance: string): SimulatedGuest {
    this.#assertUp();
    const guest = this.#node.guests.get(instance);
    if (guest && guest.runtime === this.#options.runtime) return guest;
    throw this.#error('GUEST_NOT_FOUND', instance, 'no such guest on this node');
  }

  /** Waits for what is under way with the guest, however much queues up, then finds it again. */
  async #settled(guest: SimulatedGuest): Promise<SimulatedGuest> {
    while (guest.busy) await guest.busy;
    return this.#get(guest.spec.instance);
  }

  /** Occupies the guest for that time. Rejects when it was removed meanwhile. */
  async #take(guest: SimulatedGuest, durationMs: number): Promise<void> {
    const busy = delay(this.#clock, durationMs).then(() => {
      if (guest.busy === busy) delete guest.busy;
    });
    guest.busy = busy;
    await busy;
    if (guest.removed) throw this.#error('GUEST_NOT_FOUND', guest.spec.instance, 'it was removed meanwhile');
    this.#assertUp();
  }

  #scheduleEnd(guest: SimulatedGuest): void {
    const crashes =
      this.#options.crashRate > 0 && this.#draws('crash', guest.spec.instance, guest.attempt, this.#options.crashRate);
    const end =
      guest.program.end ??
      (crashes
        ? ({ exitCode: 1, signal: null, reason: 'exited', afterMs: this.#options.crashAfterMs } as const)
        : undefined);
    if (!end) return;
    const { afterMs, ...exit } = end;
    const { attempt } = guest;
    const fire = () => {
      if (guest.removed || guest.state !== 'running' || guest.attempt !== attempt) return;
      this.#world.end(guest, exit);
    };
    if (afterMs > 0) guest.cancelEnd = this.#clock.after(afterMs, fire);
    else queueMicrotask(() => queueMicrotask(fire));
  }

  #status(guest: SimulatedGuest): GuestStatus {
    const runs = guest.state === 'running' || guest.state === 'paused';
    return {
      instance: guest.spec.instance,
      state: guest.state,
      attempt: guest.attempt,
      runtime: guest.runtime,
      handle: { guest: guest.spec.instance },
      ...(runs ? { pid: guest.pid, address: { host: addressOf(guest.pid) } } : {}),
      ...(guest.exit ? { exit: guest.exit } : {}),
    };
  }

  #assertUp(): void {
    const reason = this.#node.outage.value;
    if (reason !== undefined) {
      throw new CloudosError('RUNTIME_UNAVAILABLE', `node ${this.#node.id}: ${reason}`);
    }
  }

  #error(code: ErrorCode, instance: string, message: string): CloudosError {
    return new CloudosError(code, `guest ${instance} on node ${this.#node.id}: ${message}`);
  }

  #draws(what: string, instance: string, attempt: number, rate: number): boolean {
    return rate > 0 && fraction(`${what}/${instance}/${attempt}`, this.#options.seed) < rate;
  }
}

/** A loopback address of its own: nothing listens there, and whoever dials it all the same stays on this machine. */
function addressOf(pid: number): string {
  return `127.${(pid >>> 16) & 0xff}.${(pid >>> 8) & 0xff}.${pid & 0xff}`;
}

/** A number in [0, 1) from a text and a seed: FNV-1a, then the finalizer of MurmurHash3. */
function fraction(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000;
}
