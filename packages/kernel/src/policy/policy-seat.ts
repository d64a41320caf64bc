import { createHash } from 'node:crypto';
import type { Activation, PluginSpec, Slot } from '@cloudos/plugin-bus';
import {
  type Clock,
  CloudosError,
  type CommandResult,
  type EventLog,
  hasCode,
  type IdSource,
  type Logger,
  type LogProvider,
  type Policy,
} from '@cloudos/sdk';
import type { SlotFactory } from '../slot-factory.ts';
import { isFenced } from '../stream-writer.ts';
import { type CommandMeta, type PolicyLimits, PolicyRunner } from './policy-runner.ts';

export type PolicySlotName = 'resources' | 'orchestrator';

export interface PolicySeatOptions {
  readonly name: PolicySlotName;
  readonly spec: PluginSpec;
  readonly slots: SlotFactory;
  readonly log: EventLog & Pick<LogProvider, 'snapshots'>;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger: Logger;
  readonly limits?: Partial<PolicyLimits> | undefined;
}

/** A command is sent again that often when the policy is replaced under it. */
const resendsMax = 3;

/** Where a policy of the stack sits: its slot and the runner of whoever is in charge. */
export class PolicySeat {
  readonly name: PolicySlotName;
  readonly slot: Slot<PolicySlotName>;
  readonly #options: PolicySeatOptions;
  /** Runners that have caught up before they are put in charge. */
  readonly #prepared = new Map<number, PolicyRunner>();
  #runner: PolicyRunner | undefined;

  constructor(options: PolicySeatOptions) {
    this.name = options.name;
    this.#options = options;
    this.slot = options.slots.make(options.name, options.spec, {
      activated: (activation) => this.#takeOver(activation),
      deactivated: () => this.#stepDown(),
      failed: () => {},
    });
  }

  /** Has the policy in charge decide. See {@link PolicyRunner.command}. @throws CloudosError SLOT_EMPTY */
  async command(command: unknown, about: CommandMeta): Promise<CommandResult> {
    for (let sent = 1; ; sent++) {
      await this.slot.settled();
      const runner = this.#runner;
      if (!runner) throw this.#empty();
      try {
        return await runner.command(command, about);
      } catch (error) {
        if (!hasCode(error, 'SLOT_EMPTY') || sent === resendsMax) throw error;
        await this.slot.settled();
        if (this.#runner === runner) throw error;
      }
    }
  }

  /** Makes a successor that has rebuilt itself from the log up to the head, without putting it in charge. */
  async prepare(spec: PluginSpec): Promise<Activation<Policy>> {
    const activation = await this.slot.prepare(spec);
    try {
      const runner = this.#runnerFor(activation);
      await runner.catchUp();
      this.#prepared.set(activation.generation, runner);
      return activation;
    } catch (error) {
      await this.slot.discard(activation);
      throw error;
    }
  }

  /** Brings a prepared successor level with the head again. */
  async level(activation: Activation<Policy>): Promise<number> {
    const runner = this.#prepared.get(activation.generation);
    if (!runner) throw new Error('the successor was not prepared');
    await runner.catchUp();
    return runner.level;
  }

  /** Forgets a prepared successor. */
  discard(activation: Activation<Policy>): void {
    this.#prepared.delete(activation.generation);
  }

  async #takeOver(activation: Activation<Policy>): Promise<void> {
    const prepared = this.#prepared.get(activation.generation);
    this.#prepared.delete(activation.generation);
    const runner = prepared ?? this.#runnerFor(activation);
    await runner.catchUp();
    await runner.start();
    this.#runner = runner;
  }

  async #stepDown(): Promise<void> {
    const runner = this.#runner;
    this.#runner = undefined;
    await runner?.stop();
  }

  #runnerFor(activation: Activation<Policy>): PolicyRunner {
    const { log, clock, newId, logger, limits } = this.#options;
    const { plugin } = activation.spec;
    return new PolicyRunner({
      policy: activation.provider,
      stream: this.name,
      log,
      producer: { plugin: plugin.definition.name, generation: activation.generation },
      snapshotKey: snapshotKeyOf(activation.spec),
      clock,
      newId,
      logger,
      onFailure: (error) => void this.slot.fail(error, activation, isFenced(error)),
      ...(limits && { limits }),
    });
  }

  #empty(): CloudosError {
    const { plugin, state, reason } = this.slot.view();
    return new CloudosError('SLOT_EMPTY', `slot ${this.name}: ${plugin} is ${state}${reason ? `: ${reason}` : ''}`);
  }
}

/** Under which name snapshots of a policy are kept: another version or configuration may have made another state. */
export function snapshotKeyOf({ plugin, config }: PluginSpec): string {
  const digest = createHash('sha256').update(JSON.stringify(config)).digest('hex').slice(0, 12);
  return `policy/${plugin.definition.name}@${plugin.version}/${digest}`;
}
