import { checkConfig, expectSlot, type LoadedPlugin } from '@cloudos/plugin-bus';
import {
  type Clock,
  delay,
  type EventLog,
  errorCode,
  type IdSource,
  type Logger,
  messageOf,
  type RecordedEvent,
  Scope,
  type ShadowAgreement,
  type ShadowView,
  type SharedEvent,
} from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import { Mailbox } from '../policy/mailbox.ts';
import { HypotheticalPolicy, type ResourcesPolicy, restless, roundsMax } from './hypothetical-policy.ts';
import { PlacementLedger } from './placement-ledger.ts';
import { ShadowWorld } from './shadow-world.ts';

/** Differences that a view names. */
const differencesMax = 20;
/** Between two reactions in a row, so that a shadow never keeps the thread to itself. */
const pauseMs = 1;

export interface ShadowOptions {
  readonly plugin: LoadedPlugin;
  readonly config: unknown;
  /** The plugin in charge. */
  readonly beside: string;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger: Logger;
  /** Directory of the shadow's plugin. Policies keep nothing in it. */
  readonly dataDir: string;
  readonly deadlineMs: number;
}

/**
 * Runs a resource manager on the live log without acting: it takes over in a world of its own where the one in charge
 * stands, and from then on decides for itself. Nothing of it reaches the log, and whatever it does wrong ends it alone.
 * It takes as much memory as a second resource manager and two accounts of who is where.
 */
export class Shadow {
  readonly #options: ShadowOptions;
  readonly #scope: Scope;
  readonly #stopping = new AbortController();
  readonly #mail = new Mailbox();
  readonly #real: PlacementLedger;
  readonly #shadow: PlacementLedger;
  readonly #world: ShadowWorld;
  readonly #since: number;
  /** Those who had a place when it began: they agree by nature. */
  readonly #before = new Set<string>();
  #policy: HypotheticalPolicy | undefined;
  #from = -1;
  #position = -1;
  #failure: { readonly code: string; readonly reason: string } | undefined;
  #subscription: Subscription | undefined;
  #cancelWake: () => void = () => {};
  #running: Promise<void> | undefined;

  constructor(options: ShadowOptions) {
    this.#options = options;
    this.#since = options.clock.now();
    this.#scope = new Scope(`shadow of ${options.plugin.definition.name}`);
    this.#real = new PlacementLedger(this.#since);
    this.#shadow = new PlacementLedger(this.#since);
    this.#world = new ShadowWorld(this.#real, this.#shadow);
  }

  get name(): string {
    return this.#options.plugin.definition.name;
  }

  /**
   * Rebuilds itself from the log, then decides along with it.
   * @throws CloudosError SLOT_MISMATCH, PLUGIN_CONFIG_INVALID, LOG_TRIMMED, PLUGIN_TIMEOUT, what the plugin throws
   */
  async start(): Promise<void> {
    try {
      const policy = await this.#make();
      await this.#catchUp(policy);
      this.#policy = policy;
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#subscription = this.#options.log.subscribe(this.#position + 1, undefined, this.#mail).subscribe({
      next: (batch) => this.#mail.put(batch),
      error: (error) => this.#fail(error),
      complete: () => this.#mail.close(),
    });
    this.#running = this.#run(this.#policy);
  }

  async stop(): Promise<void> {
    this.#halt();
    await this.#running;
    await this.#scope.close();
  }

  view(): ShadowView {
    const { plugin, config, beside, clock } = this.#options;
    const now = clock.now();
    this.#real.passTo(now);
    if (!this.#failure) this.#shadow.passTo(now);
    const { agreement, differences } = this.#compare();
    return {
      plugin: plugin.definition.name,
      config,
      beside,
      state: this.#failure ? 'failed' : 'running',
      ...this.#failure,
      from: this.#from,
      since: this.#since,
      position: this.#position,
      real: this.#real.measures,
      shadow: this.#shadow.measures,
      agreement,
      differences,
    };
  }

  async #make(): Promise<HypotheticalPolicy> {
    const { plugin, config, clock, newId, logger, dataDir, deadlineMs } = this.#options;
    expectSlot(plugin, 'resources');
    const settings = checkConfig(plugin.definition, config);
    const context = { scope: this.#scope, logger, clock, newId, generation: 1, dataDir };
    const fail = (error: unknown) => this.#fail(error);
    const policy = (await plugin.definition.create({ ...context, fail } as never, settings)) as ResourcesPolicy;
    return new HypotheticalPolicy(policy, plugin.definition.name, deadlineMs);
  }

  /** Up to the head everything is taken in as it was, the decisions of the one in charge included. */
  async #catchUp(policy: HypotheticalPolicy): Promise<void> {
    const { log } = this.#options;
    while (this.#position < log.head()) {
      for await (const batch of log.read({ from: this.#position + 1 })) {
        policy.evolve(batch);
        for (const recorded of batch) {
          this.#world.remember(recorded);
          this.#real.take(recorded as SharedEvent);
          this.#shadow.take(recorded as SharedEvent);
          this.#position = recorded.position;
        }
      }
    }
    this.#from = this.#position;
    for (const [instance, { node }] of this.#real.instances) if (node !== undefined) this.#before.add(instance);
  }

  async #run(policy: HypotheticalPolicy): Promise<void> {
    try {
      await this.#settle(policy);
      for (;;) {
        const events = await this.#mail.take();
        if (this.#mail.closed) return;
        for (const recorded of events) this.#follow(policy, recorded);
        await this.#settle(policy);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #follow(policy: HypotheticalPolicy, recorded: RecordedEvent): void {
    for (const seen of this.#world.translate(recorded)) {
      this.#takeIn(policy, policy.record(seen, recorded.stream, recorded.time));
    }
    this.#real.take(recorded as SharedEvent);
    this.#position = recorded.position;
    if (recorded.type === 'GuestRemoved') this.#before.delete((recorded.data as { instance: string }).instance);
  }

  #takeIn(policy: HypotheticalPolicy, recorded: RecordedEvent): void {
    policy.evolve([recorded]);
    this.#shadow.take(recorded as SharedEvent);
  }

  /** Lets the policy decide until it rests, and sees to it that it is woken when it wants to be. */
  async #settle(policy: HypotheticalPolicy): Promise<void> {
    const { clock } = this.#options;
    this.#cancelWake();
    for (let round = 0; round < roundsMax; round++) {
      const now = clock.now();
      for (const removed of this.#world.due(now)) this.#takeIn(policy, policy.record(removed, 'node', now));
      const decided = policy.react(now);
      for (const decision of decided) {
        this.#shadow.take(decision as SharedEvent);
        this.#world.decided(decision);
      }
      const due = Math.min(policy.wakeAt ?? Infinity, this.#world.dueAt ?? Infinity);
      if (decided.length === 0 && due > clock.now()) {
        if (Number.isFinite(due)) this.#cancelWake = clock.after(due - clock.now(), () => this.#mail.ring());
        return;
      }
      await delay(clock, pauseMs, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
    }
    throw restless(this.name);
  }

  #compare(): Pick<ShadowView, 'agreement' | 'differences'> {
    const count = { sameNode: 0, otherNode: 0, onlyReal: 0, onlyShadow: 0, neither: 0 } satisfies ShadowAgreement;
    const differences: { instance: string; real?: string; shadow?: string }[] = [];
    for (const [instance, { node: real }] of this.#real.instances) {
      const shadow = this.#shadow.instances.get(instance)?.node;
      if (this.#before.has(instance) && real === shadow) continue;
      if (real === undefined && shadow === undefined) count.neither++;
      else if (real === shadow) count.sameNode++;
      else {
        count[real === undefined ? 'onlyShadow' : shadow === undefined ? 'onlyReal' : 'otherNode']++;
        differences.push({
          instance,
          ...(real !== undefined && { real }),
          ...(shadow !== undefined && { shadow }),
        });
        if (differences.length > differencesMax) differences.shift();
      }
    }
    return { agreement: count, differences: differences.reverse() };
  }

  #halt(): void {
    this.#stopping.abort();
    this.#cancelWake();
    this.#subscription?.unsubscribe();
    this.#mail.close();
  }

  #fail(error: unknown): void {
    if (this.#stopping.signal.aborted) return;
    this.#failure = { code: errorCode(error) ?? 'PLUGIN_FAILED', reason: messageOf(error) };
    this.#options.logger.warn(`shadow of ${this.name} ended: ${messageOf(error)}`);
    this.#halt();
  }
}
