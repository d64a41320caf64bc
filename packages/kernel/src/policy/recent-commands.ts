import type { CommandResult, EventLog, RecordedEvent } from '@cloudos/sdk';

/** Commands whose results are remembered, so that sending one again does nothing twice. */
export const recentCommandsMax = 4_096;

/** The last commands of a policy and what became of them; rebuilt from its stream after a restart. */
export class RecentCommands {
  readonly #results = new Map<string, CommandResult>();

  get(id: string): CommandResult | undefined {
    return this.#results.get(id);
  }

  add(id: string, result: CommandResult): void {
    this.#results.set(id, result);
    if (this.#results.size <= recentCommandsMax) return;
    for (const oldest of this.#results.keys()) {
      this.#results.delete(oldest);
      break;
    }
  }

  /** Reads the last events of the stream. */
  async load(log: Pick<EventLog, 'read'>, stream: string): Promise<void> {
    const events: RecordedEvent[] = [];
    for await (const batch of log.read({ stream, direction: 'backwards', limit: recentCommandsMax }))
      events.push(...batch);
    for (const { position, type, data, meta } of events.reverse()) {
      if (meta.correlation === undefined) continue;
      const known = this.#results.get(meta.correlation);
      this.add(meta.correlation, {
        positions: { first: known?.positions?.first ?? position, last: position },
        events: [...(known?.events ?? []), { type, data }],
        warnings: [],
        correlation: meta.correlation,
      });
    }
  }
}
